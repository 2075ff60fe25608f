//! Builds the WebAssembly module, the JavaScript beside it, and optimises it: `wasm/src` → `wasm/pkg`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{files_below, is_newer, say, system_package_for};
use crate::{Workspace, process};

const TARGET: &str = "wasm32-unknown-unknown";

/// What Debian has instead of a prebuilt standard library: a compiler, and the sources.
const DEBIAN: &str = "rustc-web cargo-web rust-web-src rust-web-llvm";

/// What wasm-opt may use: what every browser of the last years and Node 20 have, and rustc emits.
const FEATURES: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Builds what is not up to date into `wasm/pkg/nodejs` and `wasm/pkg/web`.
pub fn build(workspace: &Workspace) -> Result<(), String> {
    let module = module(workspace)?;
    let pack = files_below(&workspace.path("wasm/pack/src"));
    let manifest = workspace.path("wasm/pack/Cargo.toml");
    let mut sources: Vec<&Path> = pack.iter().map(PathBuf::as_path).collect();
    sources.extend([module.as_path(), manifest.as_path()]);
    let done = workspace.path("wasm/pkg/nodejs/package.json");
    if is_newer(&done, &sources) {
        return Ok(());
    }
    say(
        "writing the JavaScript beside the WebAssembly module (the first time, its writer takes a minute to build)",
    );
    let packed = workspace.path("target/pack/pkg");
    process::require(
        workspace
            .command(
                "cargo",
                &[
                    "run",
                    "--quiet",
                    "--locked",
                    "--manifest-path",
                    "wasm/pack/Cargo.toml",
                    "--target-dir",
                    "target/pack",
                    "--",
                ],
            )
            .arg(&module)
            .arg(&packed),
    )?;
    for target in ["nodejs", "web"] {
        optimise(workspace, &packed.join(target), &workspace.path("wasm/pkg").join(target))?;
    }
    // Node takes the files of `nodejs` for CommonJS, whatever the package around them says. Written last: it says
    // that everything is there.
    fs::write(&done, "{ \"type\": \"commonjs\" }\n").map_err(|error| format!("{}: {error}", done.display()))
}

/// Says how large the module is.
pub fn report(workspace: &Workspace) -> Result<(), String> {
    let module = workspace.path("wasm/pkg/web/tidegate_wasm_bg.wasm");
    let raw = fs::metadata(&module).map_err(|error| format!("{}: {error}", module.display()))?.len();
    let zipped = process::output("sh", &["-c", &format!("gzip -9 -c '{}' | wc -c", module.display())]);
    say(&format!("tidegate_wasm_bg.wasm has {raw} bytes, {} with gzip", zipped.unwrap_or_default()));
    Ok(())
}

/// Compiles the module; cargo's cache decides what is new.
fn module(workspace: &Workspace) -> Result<PathBuf, String> {
    let sysroot = process::output("rustc", &["--print", "sysroot"]).ok_or("rustc is missing")?;
    let libraries = Path::new(&sysroot).join("lib/rustlib");
    let own = libraries.join(TARGET).join("lib").exists();
    let mut command = if own {
        say("building the WebAssembly module (cargo's cache decides what is new)");
        workspace.command("cargo", &["build"])
    } else {
        debian(workspace, &libraries)?
    };
    // A folder of its own: it may be another compiler.
    command.args(["--quiet", "--locked", "--profile", "wasm", "--package", "tidegate-wasm"]);
    command.args(["--target", TARGET, "--target-dir", "target/wasm"]);
    process::require(command)?;
    Ok(workspace.path("target/wasm").join(TARGET).join("wasm/tidegate_wasm.wasm"))
}

/// Debian's compiler, which builds the standard library from source.
fn debian(workspace: &Workspace, libraries: &Path) -> Result<Command, String> {
    let complete = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/lib/rustlib/src/rust/library/Cargo.toml"]
        .iter()
        .all(|file| Path::new(file).exists());
    system_package_for(complete, &format!("the standard library of {TARGET}"), DEBIAN).map_err(|error| {
        format!(
            "{error}\nelsewhere than on Debian, have it in your Rust toolchain: rustup target add {TARGET}"
        )
    })?;
    say(
        "building the WebAssembly module and its standard library from source (cargo's cache decides what is new)",
    );
    let mut command = workspace.command("/usr/bin/cargo", &["build", "-Zbuild-std=std,panic_abort"]);
    command.arg("--config").arg(format!("target.{TARGET}.linker='{}'", linker(libraries)?.display()));
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    // What the cargo that runs us set for itself.
    for name in ["CARGO", "LD_LIBRARY_PATH", "RUSTC_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// The linker: the one inside of the Rust toolchain, else Debian's.
fn linker(libraries: &Path) -> Result<PathBuf, String> {
    let inside = fs::read_dir(libraries).into_iter().flatten().flatten();
    let inside = inside.map(|entry| entry.path().join("bin/rust-lld"));
    let debian = ["/usr/bin/rust-lld", "/usr/bin/lld-19"].map(PathBuf::from);
    let found = || inside.chain(debian).find(|path| path.exists());
    if let Some(path) = found() {
        return Ok(path);
    }
    system_package_for(false, "lld", "lld-19")?;
    Ok("/usr/bin/lld-19".into())
}

/// Copies what belongs to a target, its module optimised.
fn optimise(workspace: &Workspace, from: &Path, to: &Path) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", to.display());
    fs::create_dir_all(to).map_err(problem)?;
    for entry in fs::read_dir(from).map_err(problem)?.flatten() {
        let copy = to.join(entry.file_name());
        if entry.path().extension().is_some_and(|extension| extension == "wasm") {
            process::require(
                workspace
                    .command("node_modules/.bin/wasm-opt", &["-O3"])
                    .args(FEATURES)
                    .arg(entry.path())
                    .arg("-o")
                    .arg(&copy),
            )?;
        } else {
            fs::copy(entry.path(), &copy).map_err(problem)?;
        }
    }
    Ok(())
}
