//! Folders in memory and what they build to, or why they do not.

use api::kustomize::{CommonMetadata, Image};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      \
                          containers: [{name: web, image: 'app:1', envFrom: [{configMapRef: {name: settings}}]}]\n";
const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree::new(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())))
}

fn spec(path: &str) -> KustomizationSpec {
    KustomizationSpec { path: path.into(), ..KustomizationSpec::default() }
}

/// `kind/namespace/name` of what the folder builds to.
fn built(files: &[(&str, &str)], spec: &KustomizationSpec) -> Vec<String> {
    let objects = build(&tree(files), spec).unwrap();
    objects.iter().map(|object| api::meta::ObjectReference::of(object).unwrap().to_string()).collect()
}

fn refused(files: &[(&str, &str)], path: &str, expected: &str) {
    let error = build(&tree(files), &spec(path)).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}\nlacks {expected}");
}

#[test]
fn a_plain_folder_is_all_its_manifests() {
    let files = [
        ("apps/b.yaml", DEPLOYMENT),
        ("apps/deep/a.yml", CONFIG_MAP),
        ("apps/notes.txt", "no manifest"),
        ("other/x.yaml", "kind: ["),
    ];
    assert_eq!(built(&files, &spec("./apps")), ["Deployment/web", "ConfigMap/settings"]);
}

#[test]
fn a_directory_with_a_kustomization_is_added_as_a_whole() {
    let files = [
        ("apps/a.yaml", CONFIG_MAP),
        ("apps/web/deployment.yaml", DEPLOYMENT),
        ("apps/web/kustomization.yaml", "namespace: team\nresources: [deployment.yaml]\n"),
        ("apps/web/unlisted/broken.yaml", "kind: ["),
    ];
    assert_eq!(built(&files, &spec("apps")), ["ConfigMap/settings", "Deployment/team/web"]);
}

#[test]
fn an_empty_folder_builds_to_nothing() {
    assert!(built(&[("apps/readme.md", "")], &spec("apps")).is_empty());
}

#[test]
fn overlays_change_names_and_references_follow() {
    let files = [
        ("base/deployment.yaml", DEPLOYMENT),
        ("base/settings.yaml", CONFIG_MAP),
        ("base/kustomization.yaml", "resources: [deployment.yaml, settings.yaml]\n"),
        (
            "production/kustomization.yaml",
            "resources: [../base]\nnamespace: production\nnamePrefix: p-\nnameSuffix: -x\nimages: [{name: app, newTag: '2'}]\n\
             commonLabels: {env: production}\nreplicas: [{name: web, count: 3}]\n",
        ),
    ];
    let objects = build(&tree(&files), &spec("production")).unwrap();
    assert_eq!(
        objects[0],
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "p-web-x", "namespace": "production", "labels": {"env": "production"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"env": "production"}},
                "template": {"metadata": {"labels": {"env": "production"}}, "spec": {"containers": [
                    {"name": "web", "image": "app:2", "envFrom": [{"configMapRef": {"name": "p-settings-x"}}]}]}}}})
    );
}

#[test]
fn generated_names_carry_a_hash_and_references_follow() {
    let files = [
        ("deployment.yaml", DEPLOYMENT),
        (
            "kustomization.yaml",
            "resources: [deployment.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [a=b]\n",
        ),
    ];
    let objects = build(&tree(&files), &spec("")).unwrap();
    let from = objects[0].pointer("/spec/template/spec/containers/0/envFrom/0/configMapRef/name").unwrap();
    assert_eq!((from, &objects[1]["metadata"]["name"]), (&json!("settings-4h2mbtbbt6"), &json!("settings-4h2mbtbbt6")));
}

#[test]
fn references_with_a_namespace_follow_in_both() {
    let binding = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Service\n\
                   metadata: {name: hook, namespace: old}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
                   metadata: {name: b}\nsubjects: [{kind: ServiceAccount, name: web, namespace: default}, {kind: ServiceAccount, \
                   name: web, namespace: monitoring}, {kind: User, name: web}]\n---\n\
                   apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: w}\n\
                   webhooks: [{clientConfig: {service: {name: hook, namespace: old}}}]\n";
    let files = [("a.yaml", binding), ("kustomization.yaml", "resources: [a.yaml]\nnamespace: team\nnamePrefix: p-\n")];
    let objects = build(&tree(&files), &spec("")).unwrap();
    assert_eq!(
        objects[2]["subjects"],
        json!([{"kind": "ServiceAccount", "name": "p-web", "namespace": "team"},
            {"kind": "ServiceAccount", "name": "web", "namespace": "monitoring"}, {"kind": "User", "name": "web"}])
    );
    assert_eq!(objects[3]["webhooks"][0]["clientConfig"]["service"], json!({"name": "p-hook", "namespace": "team"}));
}

#[test]
fn a_generator_can_merge_into_an_inherited_object() {
    let files = [
        ("base/kustomization.yaml", "configMapGenerator: [{name: s, literals: [a=b, x=1]}]\n"),
        (
            "kustomization.yaml",
            "resources: [base]\nnamespace: team\nconfigMapGenerator: [{name: s, behavior: merge, literals: [a=c]}]\n",
        ),
    ];
    let objects = build(&tree(&files), &spec("")).unwrap();
    assert_eq!((objects.len(), &objects[0]["data"]), (1, &json!({"a": "c", "x": "1"})));
}

#[test]
fn patches_find_their_objects() {
    let patches = "resources: [deployment.yaml, settings.yaml]\npatches:\n- path: patch.yaml\n- target: {kind: Deployment}\n  \
                   patch: |\n    - {op: add, path: /spec/replicas, value: 2}\n";
    let patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: null, c: d}\n";
    let files = [
        ("deployment.yaml", DEPLOYMENT),
        ("settings.yaml", CONFIG_MAP),
        ("kustomization.yaml", patches),
        ("patch.yaml", patch),
    ];
    let objects = build(&tree(&files), &spec("")).unwrap();
    assert_eq!((&objects[0]["spec"]["replicas"], &objects[1]["data"]), (&json!(2), &json!({"c": "d"})));
}

#[test]
fn the_kustomizations_own_fields_are_merged_in() {
    let spec = KustomizationSpec {
        target_namespace: Some("team".into()),
        name_prefix: "p-".into(),
        images: vec![Image { name: "app".into(), new_tag: Some("9".into()), ..Image::default() }],
        common_metadata: Some(CommonMetadata {
            labels: [("team".to_owned(), "a".to_owned())].into(),
            annotations: Default::default(),
        }),
        ..KustomizationSpec::default()
    };
    let file = "resources: [deployment.yaml]\nnamespace: other\nimages: [{name: app, digest: 'sha256:aa'}]\n";
    let objects = build(&tree(&[("deployment.yaml", DEPLOYMENT), ("kustomization.yaml", file)]), &spec).unwrap();
    assert_eq!(objects[0]["metadata"], json!({"name": "p-web", "namespace": "team", "labels": {"team": "a"}}));
    assert_eq!(objects[0]["spec"]["template"]["spec"]["containers"][0]["image"], "app:9");
}

#[test]
fn cluster_scoped_objects_take_no_namespace() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: bar}\n---\napiVersion: rbac.authorization.k8s.io/v1\n\
                     kind: ClusterRole\nmetadata: {name: r}\n";
    let files = [("a.yaml", namespace), ("kustomization.yaml", "resources: [a.yaml]\nnamespace: foo\n")];
    assert_eq!(built(&files, &spec("")), ["Namespace/foo", "ClusterRole/r"]);
}

#[test]
fn errors_name_file_line_and_field() {
    let k = |text: &'static str| [("kustomization.yaml", text), ("a.yaml", CONFIG_MAP), ("b.yaml", CONFIG_MAP)];
    refused(&[("apps/a.yaml", "apiVersion: v1\nkind: [\n")], "apps", "apps/a.yaml: line ");
    refused(&[("apps/a.yaml", "\n\n---\nfoo: 1\n")], "apps", "apps/a.yaml: line 3: apiVersion: it is missing");
    refused(&[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n")], "", "a.yaml: line 1: metadata.name:");
    refused(
        &[("a.yaml", "apiVersion: v1\nkind: A\nmetadata: {name: x, labels: {a: 1}}\n")],
        "",
        "metadata.labels: texts by name",
    );
    refused(
        &[("a.yaml", CONFIG_MAP), ("b.yaml", CONFIG_MAP)],
        "",
        "b.yaml: line 1: may not add resource with an already \
        registered id: ConfigMap.v1.[noGrp]/settings.[noNs] (also in a.yaml)",
    );
    refused(&k("helmCharts: []\n"), "", "kustomization.yaml: helmCharts: this kustomize field is not supported yet");
    refused(&k("resource: [a.yaml]\n"), "", "unknown field `resource`");
    refused(&k("resources: [a.yaml, c.yaml]\n"), "", "kustomization.yaml: resources[1]: \"c.yaml\" does not exist");
    refused(&k("resources: [../../etc]\n"), "", "resources[0]: \"../../etc\" is outside the source");
    refused(&k("resources: ['https://x.test/y?ref=v1']\n"), "", "remote bases are not supported yet");
    refused(&k("resources: [.]\n"), "", "cycle detected");
    refused(&k("images: [{name: a, newtag: b}]\n"), "", "images[0]");
    refused(&k("kind: ConfigMap\n"), "", "kind: kind should be Kustomization or Component");
    refused(&k("patches: [{patch: 'kind: X'}]\n"), "", "patches[0]: no resource matches");
    refused(&k("replicas: [{name: none, count: 1}]\n"), "", "replicas[0]");
    refused(&k("resources: [\n"), "", "kustomization.yaml: line ");
    refused(&[("a.yaml", "")], "../x", "spec.path: \"../x\" is outside the source");
    refused(&[("a.yaml", "")], "apps", "spec.path: \"apps\" is not a directory of the source");
}

#[test]
fn cycles_through_several_directories_are_refused() {
    let files = [("a/kustomization.yaml", "resources: [../b]\n"), ("b/kustomization.yaml", "resources: [../a]\n")];
    refused(&files, "a", "b/kustomization.yaml: resources[0]: cycle detected: \"a\" is already being built");
}

#[test]
fn replacements_copy_values_after_all_other_changes() {
    let rules = "- source: {kind: ConfigMap, name: settings, fieldPath: metadata.name}\n  targets:\n  - select: {kind: Deployment}\n    \
        fieldPaths: ['metadata.annotations.config']\n    options: {create: true}\n";
    let file = "namePrefix: a-\nresources: [d.yaml, c.yaml]\nreplacements: [{path: rules.yaml}]\n";
    let files = [("d.yaml", DEPLOYMENT), ("c.yaml", CONFIG_MAP), ("rules.yaml", rules), ("kustomization.yaml", file)];
    let objects = build(&tree(&files), &spec("")).unwrap();
    assert_eq!(objects[0]["metadata"]["annotations"]["config"], "a-settings");
    let lost = [("kustomization.yaml", "replacements: [{path: none.yaml}]\n")];
    refused(&lost, "", "replacements[0]: none.yaml does not exist");
}

#[test]
fn a_missing_component_can_be_left_out() {
    let files = [("app/a.yaml", CONFIG_MAP)];
    let mut spec = KustomizationSpec { components: vec!["../extra".into()], ..spec("app") };
    assert!(build(&tree(&files), &spec).is_err());
    spec.ignore_missing_components = true;
    assert_eq!(built(&files, &spec), ["ConfigMap/settings"]);
}

#[test]
fn components_transform_what_their_parent_gathered() {
    let files = [
        ("app/a.yaml", CONFIG_MAP),
        ("app/kustomization.yaml", "resources: [a.yaml]\ncomponents: [../extra]\n"),
        ("extra/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: c-\n"),
    ];
    assert_eq!(built(&files, &spec("app")), ["ConfigMap/c-settings"]);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(
        manifest in "(\\PC|\n|---\n|: |- |\\{|\\[|kind|name|metadata|apiVersion){0,60}",
        file in "(\\PC|\n|: |- |\\{|\\[|resources|patches|images|labels|a\\.yaml|name){0,60}",
    ) {
        let _ = build(&tree(&[("a.yaml", &manifest)]), &spec(""));
        let _ = build(&tree(&[("a.yaml", DEPLOYMENT), ("kustomization.yaml", &file)]), &spec(""));
    }

    #[test]
    fn arbitrary_patches_never_panic(
        operation in "(add|remove|replace|move|copy|test)",
        path in "(/|~1|spec|template|containers|0|-|metadata|name){0,8}",
        fields in "[a-z]{1,5}",
    ) {
        let file = format!(
            "resources: [a.yaml]\npatches:\n- target: {{kind: Deployment}}\n  patch: |\n    - {{op: {operation}, path: \
             '{path}', from: /spec, value: {{{fields}: 1}}}}\n"
        );
        let _ = build(&tree(&[("a.yaml", DEPLOYMENT), ("kustomization.yaml", &file)]), &spec(""));
    }
}

/// Source: what kustomize's own code (`sigs.k8s.io/kustomize/api` 0.21.1) makes of these files.
#[test]
fn build_metadata_says_where_objects_come_from_and_what_they_went_through() {
    let files = [
        (
            "apps/base/kustomization.yaml",
            "resources: [settings.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\nnamePrefix: x-\n\
             labels: [{pairs: {app: web}}]\n",
        ),
        ("apps/base/settings.yaml", CONFIG_MAP),
        (
            "apps/overlay/kustomization.yaml",
            "resources: [../base, own.yaml]\nnamespace: team\n\
             configMapGenerator: [{name: x-made, behavior: merge, literals: [c=d]}]\n\
             patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: own}, data: {z: z}}'}]\n\
             images: [{name: app, newTag: '2'}]\n",
        ),
        ("apps/overlay/own.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n"),
    ];
    let noted = |options: &[&str]| {
        let build_metadata = options.iter().map(|option| (*option).to_owned()).collect();
        let objects = build(&tree(&files), &KustomizationSpec { build_metadata, ..spec("apps/overlay") }).unwrap();
        let of = |object: &Value, key: &str| object["metadata"]["annotations"][key].as_str().map(str::to_owned);
        let noted = objects.iter().map(|object| {
            let all =
                [of(object, "config.kubernetes.io/origin"), of(object, "alpha.config.kubernetes.io/transformations")];
            all.map(Option::unwrap_or_default)
        });
        noted.collect::<Vec<_>>()
    };
    let by = |file: &str, kind: &str, indent: &str| {
        format!("configuredIn: {file}\n{indent}configuredBy:\n{indent}  apiVersion: builtin\n{indent}  kind: {kind}\n")
    };
    let passed = |file: &str, kinds: &[&str]| {
        kinds.iter().map(|kind| format!("- {}", by(file, &format!("{kind}Transformer"), "  "))).collect::<String>()
    };
    let overlay = passed("kustomization.yaml", &["Patch", "Namespace", "ImageTag"]);
    let base = passed("../base/kustomization.yaml", &["Prefix", "Label", "Label"]) + &overlay;
    let origins = [
        "path: ../base/settings.yaml\n".to_owned(),
        by("../base/kustomization.yaml", "ConfigMapGenerator", ""),
        "path: own.yaml\n".to_owned(),
    ];
    let both: Vec<_> =
        origins.iter().zip([&base, &base, &overlay]).map(|(one, two)| [one.clone(), two.clone()]).collect();
    assert_eq!(noted(&["originAnnotations", "transformerAnnotations"]), both);
    let one: Vec<_> = origins.iter().map(|origin| [origin.clone(), String::new()]).collect();
    assert_eq!(noted(&["originAnnotations"]), one);
    assert!(noted(&[]).iter().flatten().all(String::is_empty));

    let plain = [("apps/settings.yaml", CONFIG_MAP)];
    let metadata = |options: &[&str]| KustomizationSpec {
        build_metadata: options.iter().map(|option| (*option).to_owned()).collect(),
        name_prefix: "x-".into(),
        ..spec("apps")
    };
    let objects = build(&tree(&plain), &metadata(&["transformerAnnotations"])).unwrap();
    let annotations = json!({"alpha.config.kubernetes.io/transformations": passed("kustomization.yaml", &["Prefix"])});
    assert_eq!(objects[0]["metadata"]["annotations"], annotations);
    let refused = build(&tree(&plain), &metadata(&["managedByLabel"])).unwrap_err().to_string();
    assert!(
        refused.starts_with("Kustomization: spec.buildMetadata[0]: \"managedByLabel\" is not supported"),
        "{refused}"
    );
}
