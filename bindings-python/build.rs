//! Tells the linker that Python provides its own symbols.

fn main() {
    // Else cargo would run it again for every file that lands in this folder, the built module included.
    println!("cargo:rerun-if-changed=build.rs");
    pyo3_build_config::add_extension_module_link_args();
}
