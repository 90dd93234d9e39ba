//! Key-value buckets.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:keyvalue;

interface api {
    set: func(bucket: string, key: string, value: list<u8>) -> result<_, string>;
    get: func(bucket: string, key: string) -> result<option<list<u8>>, string>;
    delete: func(bucket: string, key: string) -> result<_, string>;
    exists: func(bucket: string, key: string) -> result<bool, string>;
    get-many: func(bucket: string, keys: list<string>) -> result<list<option<list<u8>>>, string>;
    set-many: func(bucket: string, entries: list<tuple<string, list<u8>>>) -> result<_, string>;
    delete-many: func(bucket: string, keys: list<string>) -> result<_, string>;
    /// Sorted.
    keys: func(bucket: string) -> result<list<string>, string>;
    increment: func(bucket: string, key: string, delta: u64) -> result<u64, string>;
    compare-and-swap: func(bucket: string, key: string, old: u64, new: u64) -> result<bool, string>;
    /// Reads through the stream, up to this many bytes at a time.
    get-async: func(bucket: string, key: string, chunk: u64) -> result<option<list<u8>>, string>;
    /// Writes through the stream, one write for each chunk.
    set-async: func(bucket: string, key: string, chunks: list<list<u8>>) -> result<_, string>;
    /// Size before, and after, consuming the value.
    sizes: func(bucket: string, key: string) -> result<tuple<u64, u64>, string>;
}

world guest {
    import wasi:keyvalue/atomic@0.1.0;
    import wasi:keyvalue/eventual@0.1.0;
    import wasi:keyvalue/eventual-batch@0.1.0;
    import wasi:keyvalue/types@0.1.0;
    import wasi:keyvalue/wasi-keyvalue-error@0.1.0;
    export api;
}
"# });

use exports::test::keyvalue::api::Guest;
use wasi::io::streams::StreamError;
use wasi::keyvalue::types::{Bucket, IncomingValue, OutgoingValue};
use wasi::keyvalue::wasi_keyvalue_error::Error;
use wasi::keyvalue::{atomic, eventual, eventual_batch as batch};

struct KeyValue;
export!(KeyValue);

type Outcome<T = ()> = Result<T, String>;

fn text(e: Error) -> String {
    e.trace()
}

fn open(name: &str) -> Outcome<Bucket> {
    Bucket::open_bucket(name).map_err(text)
}

fn outgoing(bytes: &[u8]) -> Outcome<OutgoingValue> {
    let value = OutgoingValue::new_outgoing_value();
    value.outgoing_value_write_body_sync(bytes).map_err(text)?;
    Ok(value)
}

fn consume(value: Option<IncomingValue>) -> Outcome<Option<Vec<u8>>> {
    value.map(|v| v.incoming_value_consume_sync().map_err(text)).transpose()
}

impl Guest for KeyValue {
    fn set(bucket: String, key: String, value: Vec<u8>) -> Outcome {
        eventual::set(&open(&bucket)?, &key, &outgoing(&value)?).map_err(text)
    }

    fn get(bucket: String, key: String) -> Outcome<Option<Vec<u8>>> {
        consume(eventual::get(&open(&bucket)?, &key).map_err(text)?)
    }

    fn delete(bucket: String, key: String) -> Outcome {
        eventual::delete(&open(&bucket)?, &key).map_err(text)
    }

    fn exists(bucket: String, key: String) -> Outcome<bool> {
        eventual::exists(&open(&bucket)?, &key).map_err(text)
    }

    fn get_many(bucket: String, keys: Vec<String>) -> Outcome<Vec<Option<Vec<u8>>>> {
        batch::get_many(&open(&bucket)?, &keys).map_err(text)?.into_iter().map(consume).collect()
    }

    fn set_many(bucket: String, entries: Vec<(String, Vec<u8>)>) -> Outcome {
        let values = entries.iter().map(|(_, v)| outgoing(v)).collect::<Outcome<Vec<_>>>()?;
        let entries: Vec<_> = entries.into_iter().map(|(k, _)| k).zip(&values).collect();
        batch::set_many(&open(&bucket)?, &entries).map_err(text)
    }

    fn delete_many(bucket: String, keys: Vec<String>) -> Outcome {
        batch::delete_many(&open(&bucket)?, &keys).map_err(text)
    }

    fn keys(bucket: String) -> Outcome<Vec<String>> {
        let mut keys = batch::keys(&open(&bucket)?).map_err(text)?;
        keys.sort();
        Ok(keys)
    }

    fn increment(bucket: String, key: String, delta: u64) -> Outcome<u64> {
        atomic::increment(&open(&bucket)?, &key, delta).map_err(text)
    }

    fn compare_and_swap(bucket: String, key: String, old: u64, new: u64) -> Outcome<bool> {
        atomic::compare_and_swap(&open(&bucket)?, &key, old, new).map_err(text)
    }

    fn get_async(bucket: String, key: String, chunk: u64) -> Outcome<Option<Vec<u8>>> {
        let Some(value) = eventual::get(&open(&bucket)?, &key).map_err(text)? else {
            return Ok(None);
        };
        let stream = value.incoming_value_consume_async().map_err(text)?;
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(chunk) {
                Ok(more) => bytes.extend(more),
                Err(StreamError::Closed) => return Ok(Some(bytes)),
                Err(StreamError::LastOperationFailed(e)) => return Err(e.to_debug_string()),
            }
        }
    }

    fn set_async(bucket: String, key: String, chunks: Vec<Vec<u8>>) -> Outcome {
        let value = OutgoingValue::new_outgoing_value();
        let stream = value.outgoing_value_write_body_async().map_err(text)?;
        for chunk in chunks {
            stream.blocking_write_and_flush(&chunk).map_err(|e| format!("{e:?}"))?;
        }
        drop(stream);
        eventual::set(&open(&bucket)?, &key, &value).map_err(text)
    }

    fn sizes(bucket: String, key: String) -> Outcome<(u64, u64)> {
        let value = eventual::get(&open(&bucket)?, &key).map_err(text)?.ok_or("no value")?;
        let before = value.incoming_value_size().map_err(text)?;
        value.incoming_value_consume_sync().map_err(text)?;
        Ok((before, value.incoming_value_size().map_err(text)?))
    }
}
