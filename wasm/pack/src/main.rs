//! Writes the JavaScript beside the WebAssembly module, for each target: `tidegate-pack MODULE FOLDER`.
//!
//! This is what the program `wasm-bindgen` does, as a library: nothing to install, and one version, pinned in
//! two `Cargo.toml`s, which the library itself compares.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, folder] = arguments.as_slice() else { bail!("usage: tidegate-pack MODULE FOLDER") };
    write(module, &folder.join("nodejs"), |bindgen| bindgen.nodejs(true))?;
    write(module, &folder.join("web"), |bindgen| bindgen.web(true))
}

fn write(
    module: &Path,
    folder: &Path,
    target: impl FnOnce(&mut Bindgen) -> Result<&mut Bindgen, anyhow::Error>,
) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).typescript(true).omit_default_module_path(false);
    target(&mut bindgen)?
        .generate(folder)
        .with_context(|| format!("{} into {}", module.display(), folder.display()))
}
