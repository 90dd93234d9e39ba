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
    /// Sets a value of so many bytes.
    set-size: func(bucket: string, key: string, bytes: u64) -> result<_, string>;
    /// Calls what components are to export, not to import: never returns.
    watch: func(bucket: string, set: bool);
    /// Of the cache, which is not a bucket. Every future is waited for.
    cache-get: func(key: string) -> result<option<list<u8>>, string>;
    cache-exists: func(key: string) -> result<bool, string>;
    cache-set: func(key: string, value: list<u8>, ttl-ms: option<u32>) -> result<_, string>;
    cache-delete: func(key: string) -> result<_, string>;
    /// What is cached; or else fills the key with this value, and returns none.
    cache-get-or-set: func(key: string, value: list<u8>) -> result<option<list<u8>>, string>;
}

world guest {
    import wasi:keyvalue/atomic@0.1.0;
    import wasi:keyvalue/cache@0.1.0;
    import wasi:keyvalue/eventual@0.1.0;
    import wasi:keyvalue/eventual-batch@0.1.0;
    import wasi:keyvalue/handle-watch@0.1.0;
    import wasi:keyvalue/types@0.1.0;
    import wasi:keyvalue/wasi-keyvalue-error@0.1.0;
    export api;
}
"# });

use exports::test::keyvalue::api::Guest;
use wasi::io::streams::StreamError;
use wasi::keyvalue::types::{Bucket, IncomingValue, OutgoingValue};
use wasi::keyvalue::wasi_keyvalue_error::Error;
use wasi::keyvalue::{atomic, cache, eventual, eventual_batch as batch, handle_watch};

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

    fn set_size(bucket: String, key: String, bytes: u64) -> Outcome {
        const PIECE: u64 = 1 << 20;
        let value = OutgoingValue::new_outgoing_value();
        let piece = vec![7; PIECE as usize];
        for start in (0..bytes).step_by(PIECE as usize) {
            let length = PIECE.min(bytes - start) as usize;
            value.outgoing_value_write_body_sync(&piece[..length]).map_err(text)?;
        }
        eventual::set(&open(&bucket)?, &key, &value).map_err(text)
    }

    fn watch(bucket: String, set: bool) {
        let bucket = open(&bucket).unwrap();
        if set {
            eventual::set(&bucket, "k", &outgoing(b"v").unwrap()).unwrap();
            let value = eventual::get(&bucket, "k").unwrap().unwrap();
            handle_watch::on_set(bucket, "k", &value);
        } else {
            handle_watch::on_delete(bucket, "k");
        }
    }

    fn cache_get(key: String) -> Outcome<Option<Vec<u8>>> {
        let future = cache::get(&key);
        future.listen_to_future_get_result().block();
        consume(future.future_get_result_get().ok_or("not ready")?.map_err(text)?)
    }

    fn cache_exists(key: String) -> Outcome<bool> {
        let future = cache::exists(&key);
        future.listen_to_future_exists_result().block();
        future.future_exists_result_get().ok_or("not ready")?.map_err(text)
    }

    fn cache_set(key: String, value: Vec<u8>, ttl: Option<u32>) -> Outcome {
        let future = cache::set(&key, &outgoing(&value)?, ttl);
        future.listen_to_future_result().block();
        future.future_result_get().ok_or("not ready")?.map_err(text)
    }

    fn cache_delete(key: String) -> Outcome {
        let future = cache::delete(&key);
        future.listen_to_future_result().block();
        future.future_result_get().ok_or("not ready")?.map_err(text)
    }

    fn cache_get_or_set(key: String, value: Vec<u8>) -> Outcome<Option<Vec<u8>>> {
        let future = cache::get_or_set(&key);
        future.listen_to_future_get_or_set_result().block();
        match future.future_get_or_set_result_get().ok_or("not ready")?.map_err(text)? {
            cache::GetOrSetEntry::Occupied(value) => consume(Some(value)),
            cache::GetOrSetEntry::Vacant(vacancy) => {
                vacancy.vacancy_fill(None).outgoing_value_write_body_sync(&value).map_err(text)?;
                Ok(None)
            }
        }
    }
}
