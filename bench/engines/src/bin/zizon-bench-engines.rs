//! The engines with the allocator of the C library.

fn main() -> std::process::ExitCode {
    zizon_bench_engines::main("libc")
}
