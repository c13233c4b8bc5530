//! Which crate may depend on which: only on those above it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Fault;
use crate::process::{cargo, read};

/// From the top of the map to the bottom: a crate may depend on those before it.
const ORDER: [&str; 12] = [
    "tollway-core",
    "tollway-evm",
    "tollway-svm",
    "tollway-ledger",
    "tollway-facilitator",
    "tollway-seller",
    "tollway-buyer",
    "tollway-gateway",
    "tollway-mcp",
    "tollway-devnet",
    "tollway-dashboard",
    "tollway",
];

/// The one crate that others may use in their tests although it stands below them.
const TEST_BED: &str = "tollway-devnet";

/// A crate of the workspace, and what it depends on.
#[derive(Debug)]
pub(super) struct Crate {
    name: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

/// One arrow.
#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests: bool,
}

/// The crates of the workspace, from cargo.
pub(super) fn crates(root: &Path) -> Result<Vec<Crate>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let metadata: Value = serde_json::from_slice(&read(&mut cargo(root, &arguments))?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependency =
        |value: &Value| Dependency { name: text(&value["name"]), for_tests: value["kind"] == "dev" };
    let one = |package: &Value| Crate {
        name: text(&package["name"]),
        manifest: relative(root, &text(&package["manifest_path"])),
        dependencies: package["dependencies"].as_array().into_iter().flatten().map(dependency).collect(),
    };
    Ok(packages.iter().map(one).collect())
}

/// Checks every arrow.
pub(super) fn check(crates: &[Crate], faults: &mut Vec<Fault>) {
    for krate in crates {
        let mut fault = |rule: String| {
            faults.push(Fault { path: krate.manifest.clone(), line: None, rule });
        };
        let place = place(&krate.name);
        if place.is_none() && krate.manifest.starts_with("crates/") {
            fault(format!("`{}` is not on the map of crates", krate.name));
        }
        if !krate.manifest.contains(&format!("/{}/", krate.name)) && place.is_some() {
            fault(format!("`{}` must be in a folder of its name", krate.name));
        }
        for dependency in &krate.dependencies {
            let Some(target) = self::place(&dependency.name) else { continue };
            let in_tests = dependency.for_tests && dependency.name == TEST_BED && krate.name != ORDER[0];
            // Its own tests may switch features of it on.
            let is_itself = dependency.for_tests && dependency.name == krate.name;
            if is_itself {
                continue;
            }
            if target + 1 == ORDER.len() {
                fault(format!("nothing depends on the binary, `{}`", dependency.name));
            } else if place.is_some_and(|place| target >= place) && !in_tests {
                fault(format!("`{}` stands below `{}`", dependency.name, krate.name));
            }
        }
    }
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == name)
}

fn relative(root: &Path, path: &str) -> String {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::{Crate, Dependency, check};

    fn faults(name: &str, folder: &str, dependency: &str, for_tests: bool) -> usize {
        let krate = Crate {
            name: name.to_owned(),
            manifest: format!("{folder}/Cargo.toml"),
            dependencies: vec![Dependency { name: dependency.to_owned(), for_tests }],
        };
        let mut faults = Vec::new();
        check(&[krate], &mut faults);
        faults.len()
    }

    #[test]
    fn arrows_point_up() {
        assert_eq!(faults("tollway-evm", "crates/tollway-evm", "tollway-core", false), 0);
        assert_eq!(faults("tollway-core", "crates/tollway-core", "tollway-evm", false), 1);
        assert_eq!(faults("tollway-seller", "crates/tollway-seller", "tollway-buyer", true), 1);
        assert_eq!(faults("tollway-evm", "crates/tollway-evm", "serde", false), 0);
    }

    #[test]
    fn a_crate_may_name_itself_for_its_tests_only() {
        assert_eq!(faults("tollway-ledger", "crates/tollway-ledger", "tollway-ledger", true), 0);
        assert_eq!(faults("tollway-ledger", "crates/tollway-ledger", "tollway-ledger", false), 1);
    }

    #[test]
    fn tests_may_use_the_devnet_from_anywhere_but_core() {
        assert_eq!(faults("tollway-buyer", "crates/tollway-buyer", "tollway-devnet", true), 0);
        assert_eq!(faults("tollway-buyer", "crates/tollway-buyer", "tollway-devnet", false), 1);
        assert_eq!(faults("tollway-core", "crates/tollway-core", "tollway-devnet", true), 1);
    }

    #[test]
    fn nothing_depends_on_the_binary() {
        assert_eq!(faults("xtask", "xtask", "tollway", false), 1);
        assert_eq!(faults("xtask", "xtask", "tollway-devnet", false), 0);
    }

    #[test]
    fn a_crate_is_on_the_map_and_in_its_folder() {
        assert_eq!(faults("tollway-new", "crates/tollway-new", "serde", false), 1);
        assert_eq!(faults("tollway-evm", "crates/evm", "serde", false), 1);
    }
}
