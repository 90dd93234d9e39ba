//! Generates the wire types from `proto/`, without an installed protobuf compiler.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}/emet/oplog/v1");
    let files =
        protox::compile(["emet/oplog/v1/oplog.proto", "emet/oplog/v1/state.proto"], [root])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
