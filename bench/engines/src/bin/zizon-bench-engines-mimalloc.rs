//! The engines with mimalloc: for Rust by this declaration, as in the product, and for C and C++ because mimalloc is built
//! to take the place of `malloc`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    zizon_bench_engines::main("mimalloc")
}
