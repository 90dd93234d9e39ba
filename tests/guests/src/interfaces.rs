//! Functions that programs seldom call: what the other guests leave out of the interfaces, so that none is untested.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:interfaces;

interface api {
    /// Spans in spans: attributes, chains, parents, times.
    context: func() -> result<list<string>, string>;
    /// An operation of a library, recorded with typed values; the random number that it got.
    typed-operation: func() -> u64;
    /// What the last operation gave, or its replay.
    last-operation: func() -> u64;
    /// Files over the raw interface.
    files: func() -> result<list<string>, string>;
    /// Streams into and out of files: skip, splice, flush, zeroes.
    streams: func() -> result<list<string>, string>;
    /// Fields, requests, their options and responses, as objects in memory.
    http-objects: func() -> result<list<string>, string>;
    /// Reads the body of a response, and gives the error code of the failure that ends it.
    body-error: func(url: string) -> result<string, string>;
    /// Sends so many requests at once; returns how many were sent, and why the next one was not.
    many-requests: func(url: string, count: u32) -> tuple<u32, string>;
    /// Writes five objects, and lists them with some left out.
    objects: func(container: string) -> result<list<string>, string>;
    insecure-bytes: func(count: u64) -> list<u8>;
    /// Prints, waits so many milliseconds, and prints again.
    print-around-wait: func(ms: u64) -> string;
    /// Calls a function without parameters of a new worker of an ephemeral component.
    call-ephemeral: func(component: tuple<u64, u64>, function: string) -> result<string, string>;
    /// A UUID there and back, as text.
    uuid: func(text: string) -> result<string, string>;
}

world guest {
    import golem:api/host@1.1.5;
    import golem:api/context@1.1.5;
    import golem:durability/durability@1.2.0;
    import golem:rpc/types@0.2.0;
    import wasi:blobstore/blobstore;
    import wasi:blobstore/container;
    import wasi:blobstore/types;
    import wasi:filesystem/preopens@0.2.0;
    import wasi:filesystem/types@0.2.0;
    import wasi:http/outgoing-handler@0.2.0;
    import wasi:http/types@0.2.0;
    import wasi:io/streams@0.2.0;
    import wasi:random/insecure@0.2.0;
    import wasi:random/random@0.2.0;
    export api;
}
"# });

include!("parts/http.rs");

use exports::test::interfaces::api::Guest;
use golem::api1_1_5::context::{self, Attribute, AttributeValue};
use golem::api1_1_5::host::{self, PersistenceLevel};
use golem::api1_1_5::oplog::WrappedFunctionType;
use golem::durability::durability;
use golem::rpc0_1_3::types::{ValueAndType, WitNode, WitType, WitTypeNode, WitValue};
use golem::rpc0_2_0::types::{ComponentId, Uuid, WasmRpc, parse_uuid, uuid_to_string};
use std::cell::Cell;
use wasi::blobstore::blobstore;
use wasi::blobstore::types::OutgoingValue;
use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags,
};
use wasi::http::types::{OutgoingResponse, RequestOptions, http_error_code};
use wasi::io::streams::StreamError;

thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });

struct Interfaces;
export!(Interfaces);

type Outcome<T> = Result<T, String>;

fn debug<E: std::fmt::Debug>(error: E) -> String {
    format!("{error:?}")
}

fn attribute(key: &str, value: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: AttributeValue::String(value.to_owned()) }
}

fn value(AttributeValue::String(text): AttributeValue) -> String {
    text
}

/// The bytes of a number as a typed list.
fn typed(number: u64) -> ValueAndType {
    let bytes = number.to_be_bytes();
    let list = WitNode::ListValue((1..=bytes.len() as i32).collect());
    let items = bytes.into_iter().map(WitNode::PrimU8);
    ValueAndType {
        value: WitValue { nodes: std::iter::once(list).chain(items).collect() },
        typ: WitType { nodes: vec![WitTypeNode::ListType(1), WitTypeNode::PrimU8Type] },
    }
}

fn directory() -> Outcome<Descriptor> {
    Ok(get_directories().pop().ok_or("no directory")?.0)
}

fn open(path: &str) -> Outcome<Descriptor> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    directory()?.open_at(PathFlags::empty(), path, OpenFlags::CREATE, flags).map_err(debug)
}

impl Guest for Interfaces {
    fn context() -> Outcome<Vec<String>> {
        let outer = context::start_span("outer");
        outer.set_attributes(&[attribute("a", "1"), attribute("b", "2")]);
        let inner = context::start_span("inner");
        inner.set_attribute("a", &AttributeValue::String("3".into()));
        let here = context::current_context();
        let parent = here.parent().ok_or("no parent")?;
        let mut own: Vec<_> = here.get_attributes(false).into_iter().map(|a| a.key).collect();
        own.sort();
        let mut all: Vec<_> = here.get_attributes(true).into_iter().map(|a| a.key).collect();
        all.sort();
        let mut chains: Vec<_> = here
            .get_attribute_chains()
            .into_iter()
            .map(|c| format!("{} {:?}", c.key, c.values.into_iter().map(value).collect::<Vec<_>>()))
            .collect();
        chains.sort();
        let told = vec![
            format!("started {}", inner.started_at().seconds > 0),
            format!("parent {}", parent.span_id() != here.span_id()),
            format!("a {:?}", here.get_attribute("a", false).map(value)),
            format!(
                "b {:?} {:?}",
                here.get_attribute("b", false).map(value),
                here.get_attribute("b", true).map(value)
            ),
            format!("own {own:?} all {all:?}"),
            format!(
                "chain {:?}",
                here.get_attribute_chain("a").into_iter().map(value).collect::<Vec<_>>()
            ),
            format!("chains {chains:?}"),
            format!(
                "forwards {} {}",
                context::allow_forwarding_trace_context_headers(false),
                context::allow_forwarding_trace_context_headers(true)
            ),
        ];
        inner.finish();
        outer.finish();
        Ok(told)
    }

    fn typed_operation() -> u64 {
        let kind = WrappedFunctionType::ReadRemote;
        let begin = durability::begin_durable_function(kind);
        let number = if durability::current_durable_execution_state().is_live {
            let level = host::get_oplog_persistence_level();
            host::set_oplog_persistence_level(PersistenceLevel::PersistNothing);
            let number = wasi::random::random::get_random_u64();
            host::set_oplog_persistence_level(level);
            durability::persist_typed_durable_function_invocation(
                "test::typed",
                &typed(7),
                &typed(number),
                kind,
            );
            number
        } else {
            let read = durability::read_persisted_durable_function_invocation();
            assert_eq!(read.function_name, "test::typed");
            u64::from_be_bytes(read.response.try_into().unwrap())
        };
        durability::end_durable_function(kind, begin, false);
        LAST.set(number);
        number
    }

    fn last_operation() -> u64 {
        LAST.get()
    }

    fn files() -> Outcome<Vec<String>> {
        let file = open("raw.txt")?;
        file.advise(0, 100, Advice::Sequential).map_err(debug)?;
        let written = file.write(b"0123456789", 0).map_err(debug)?;
        file.sync_data().map_err(debug)?;
        file.sync().map_err(debug)?;
        let (read, end) = file.read(4, 3).map_err(debug)?;
        let (rest, at_end) = file.read(100, 8).map_err(debug)?;
        let time = wasi::filesystem::types::Datetime { seconds: 1_000_000, nanoseconds: 0 };
        let root = directory()?;
        root.set_times_at(
            PathFlags::empty(),
            "raw.txt",
            NewTimestamp::Timestamp(time),
            NewTimestamp::Timestamp(time),
        )
        .map_err(debug)?;
        let stat = root.stat_at(PathFlags::empty(), "raw.txt").map_err(debug)?;
        let (same, other) = (open("raw.txt")?, open("other.txt")?);
        let missing = root
            .stat_at(PathFlags::empty(), "missing")
            .err()
            .map(|e| e.name().to_owned())
            .unwrap_or_default();
        Ok(vec![
            format!("written {written}"),
            format!("read {} {end}", String::from_utf8_lossy(&read)),
            format!("rest {} {at_end}", String::from_utf8_lossy(&rest)),
            format!("modified {:?}", stat.data_modification_timestamp.map(|t| t.seconds)),
            format!("same {} {}", file.is_same_object(&same), file.is_same_object(&other)),
            missing,
        ])
    }

    fn streams() -> Outcome<Vec<String>> {
        let (from, to) = (open("from.bin")?, open("to.bin")?);
        from.write(b"abcdefghij", 0).map_err(debug)?;
        let (input, output) =
            (from.read_via_stream(0).map_err(debug)?, to.write_via_stream(0).map_err(debug)?);
        let skipped = input.skip(2).map_err(debug)?;
        let mut spliced = output.splice(&input, 3).map_err(debug)?;
        spliced += output.blocking_splice(&input, 2).map_err(debug)?;
        output.check_write().map_err(debug)?;
        output.write_zeroes(2).map_err(debug)?;
        output.flush().map_err(debug)?;
        output.blocking_flush().map_err(debug)?;
        output.blocking_write_zeroes_and_flush(1).map_err(debug)?;
        drop((input, output));
        let (written, _) = to.read(100, 0).map_err(debug)?;
        Ok(vec![
            format!("skipped {skipped}"),
            format!("spliced {spliced}"),
            format!("{:?}", String::from_utf8_lossy(&written)),
        ])
    }

    fn http_objects() -> Outcome<Vec<String>> {
        let list = [("x-a".to_owned(), b"1".to_vec()), ("x-b".to_owned(), b"2".to_vec())];
        let fields = Fields::from_list(&list).map_err(debug)?;
        let copy = fields.clone();
        copy.set("x-a", &[b"3".to_vec(), b"4".to_vec()]).map_err(debug)?;
        copy.delete("x-b").map_err(debug)?;
        let told_fields = format!(
            "{} {} {} {}",
            fields.get("x-a").len(),
            fields.has("x-b"),
            copy.get("x-a").len(),
            copy.has("x-b")
        );
        let bad = Fields::from_list(&[("bad name".to_owned(), vec![])])
            .err()
            .map(debug)
            .unwrap_or_default();
        let request = new_request(
            &Method::Put,
            "http://host:1/path?q",
            &[("x-c".to_owned(), "5".to_owned())],
        );
        let fixed = request.headers().set("x-c", &[]).err().map(debug).unwrap_or_default();
        let options = RequestOptions::new();
        options.set_connect_timeout(Some(1)).map_err(debug)?;
        options.set_first_byte_timeout(Some(2)).map_err(debug)?;
        options.set_between_bytes_timeout(Some(3)).map_err(debug)?;
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(418).map_err(debug)?;
        Ok(vec![
            told_fields,
            bad,
            format!(
                "{:?} {:?} {:?} {:?}",
                request.method(),
                request.scheme(),
                request.authority(),
                request.path_with_query()
            ),
            format!("{} {fixed}", request.headers().entries().len()),
            format!(
                "{:?} {:?} {:?}",
                options.connect_timeout(),
                options.first_byte_timeout(),
                options.between_bytes_timeout()
            ),
            format!("{} {}", response.status_code(), response.headers().entries().len()),
        ])
    }

    fn body_error(url: String) -> Outcome<String> {
        let response = response_of(&send(new_request(&Method::Get, &url, &[]))?)?;
        let body = response.consume().map_err(|()| "no body")?;
        let stream = body.stream().map_err(|()| "no stream")?;
        loop {
            match stream.blocking_read(1000) {
                Ok(_) => {}
                Err(StreamError::Closed) => return Err("the body ended well".into()),
                Err(StreamError::LastOperationFailed(e)) => {
                    return Ok(http_error_code(&e).map_or_else(|| "none".to_owned(), debug));
                }
            }
        }
    }

    fn many_requests(url: String, count: u32) -> (u32, String) {
        let mut sent = Vec::new();
        for _ in 0..count {
            match send(new_request(&Method::Get, &url, &[])) {
                Ok(future) => sent.push(future),
                Err(e) => return (sent.len() as u32, e),
            }
        }
        (sent.len() as u32, String::new())
    }

    fn objects(container: String) -> Outcome<Vec<String>> {
        let container = blobstore::create_container(&container)?;
        for name in ["a", "b", "c", "d", "e"] {
            let value = OutgoingValue::new_outgoing_value();
            let stream = value.outgoing_value_write_body().map_err(debug)?;
            stream.blocking_write_and_flush(name.repeat(3).as_bytes()).map_err(debug)?;
            drop(stream);
            container.write_data(name, &value)?;
        }
        let names = container.list_objects()?;
        let (mut listed, _) = names.read_stream_object_names(1)?;
        let (skipped, end) = names.skip_stream_object_names(2)?;
        let (rest, _) = names.read_stream_object_names(10)?;
        listed.extend(rest);
        listed.push(format!("skipped {skipped} {end}"));
        let (beyond, end) = names.skip_stream_object_names(2)?;
        listed.push(format!("skipped {beyond} {end}"));
        listed.push(format!("size {}", container.get_data("c", 0, 2)?.size()));
        Ok(listed)
    }

    fn insecure_bytes(count: u64) -> Vec<u8> {
        wasi::random::insecure::get_insecure_random_bytes(count)
    }

    fn print_around_wait(ms: u64) -> String {
        println!("before the wait");
        std::thread::sleep(std::time::Duration::from_millis(ms));
        println!("after the wait");
        "done".to_owned()
    }

    fn call_ephemeral((high_bits, low_bits): (u64, u64), function: String) -> Outcome<String> {
        let target = WasmRpc::ephemeral(ComponentId { uuid: Uuid { high_bits, low_bits } });
        target.invoke_and_await(&function, &[]).map(debug).map_err(debug)
    }

    fn uuid(text: String) -> Outcome<String> {
        parse_uuid(&text).map(uuid_to_string)
    }
}
