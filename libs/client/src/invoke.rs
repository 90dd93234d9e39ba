//! The invoke endpoints.

use crate::request::{component_path, segment};
use crate::{Client, ClientError};
use emet_api::rest::{InvokeBody, InvokeParameter, InvokeResult};
use emet_api::{InvokeParameters, Target};
use emet_model::IdempotencyKey;
use emet_values::{TypedValue, json};
use reqwest::RequestBuilder;

/// A call of an exported function.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name of the function, such as `shop:cart/api.{add-item}`.
    pub function: String,
    /// Its parameters.
    pub parameters: InvokeParameters,
    /// Calls with equal keys take effect once per worker.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Call {
    fn body(&self) -> Result<InvokeBody, ClientError> {
        let typed = |parameter: &TypedValue| {
            let value = json::encode(&parameter.typ, &parameter.value)
                .map_err(|errors| ClientError::Decode(errors.join("; ")))?;
            Ok(InvokeParameter { typ: Some(parameter.typ.clone()), value })
        };
        let params = match &self.parameters {
            InvokeParameters::Typed(values) => {
                values.iter().map(typed).collect::<Result<_, _>>()?
            }
            InvokeParameters::Json(values) => values
                .iter()
                .map(|value| InvokeParameter { typ: None, value: value.clone() })
                .collect(),
            InvokeParameters::Values(_) => {
                return Err(ClientError::Decode("values without types have no JSON".into()));
            }
        };
        Ok(InvokeBody { params })
    }
}

impl Client {
    fn call(
        &self,
        target: &Target,
        action: &str,
        call: &Call,
    ) -> Result<RequestBuilder, ClientError> {
        let mut path = component_path(target.component_id);
        if let Some(name) = &target.worker_name {
            path.push_str("/workers/");
            path.push_str(&segment(name));
        }
        let request = self.post(&format!("{path}/{action}"));
        let request = request.query(&[("function", &call.function)]).json(&call.body()?);
        Ok(match &call.idempotency_key {
            Some(key) => request.header("Idempotency-Key", key.0.as_str()),
            None => request,
        })
    }

    /// `POST W/invoke-and-await`, or of a fresh worker: the result as a tuple or record.
    pub async fn invoke_and_await(
        &self,
        target: &Target,
        call: &Call,
    ) -> Result<TypedValue, ClientError> {
        let answer: InvokeResult = self.json(self.call(target, "invoke-and-await", call)?).await?;
        Ok(answer.result)
    }

    /// `POST W/invoke`, or of a fresh worker.
    pub async fn invoke(&self, target: &Target, call: &Call) -> Result<(), ClientError> {
        self.done(self.call(target, "invoke", call)?).await
    }
}
