//! Generates the messages, clients and servers of `proto/`, without an installed protobuf compiler.

use protox::prost::Message;

const PROTOS: [&str; 3] = [
    "emet/components/v1/components.proto",
    "emet/shards/v1/shards.proto",
    "emet/workers/v1/workers.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={root}/{proto}");
    }
    let files = protox::compile(PROTOS, [root])?;
    let descriptors = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
