package main

import (
	"fmt"
	"io"
	"os"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// render prints what Helm or kustomize, by their own code, make of a folder, and tells whether it was asked to.
//
//	kubetest helm CHART NAMESPACE      definitions and templates; values come on standard input
//	kubetest kustomize FOLDER
func render(args []string) bool {
	switch {
	case len(args) == 3 && args[0] == "helm":
		helm(args[1], args[2])
	case len(args) == 2 && args[0] == "kustomize":
		built := must(krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), args[1]))
		os.Stdout.Write(must(built.AsYaml()))
	default:
		return false
	}
	return true
}

func helm(folder, namespace string) {
	chart := must(loader.Load(folder))
	values := must(chartutil.ReadValues(must(io.ReadAll(os.Stdin))))
	check(chartutil.ProcessDependencies(chart, values))
	release := chartutil.ReleaseOptions{Name: chart.Name(), Namespace: namespace, Revision: 1, IsInstall: true}
	// Refuses what the chart's schema of values does.
	top := must(chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities))
	for _, definition := range chart.CRDObjects() {
		fmt.Printf("---\n%s\n", definition.File.Data)
	}
	for name, text := range must(engine.Render(chart, top)) {
		fmt.Printf("---\n# Source: %s\n%s\n", name, text)
	}
}
