package main

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

// controllers runs Kubernetes' own controllers and the fake kubelet, and returns when their caches are filled.
func controllers(ctx context.Context, config *rest.Config, client *kubernetes.Clientset) {
	meta := must(metadata.NewForConfig(config))
	shared := informers.NewSharedInformerFactory(client, 0)
	metaShared := metadatainformer.NewSharedInformerFactory(meta, 0)
	started := make(chan struct{})
	core, apps := shared.Core().V1(), shared.Apps().V1()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	events := map[schema.GroupResource]struct{}{{Resource: "events"}: {}, {Group: "events.k8s.io", Resource: "events"}: {}}

	deployments := must(deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), core.Pods(), client))
	replicas := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), core.Pods(), client, replicaset.BurstReplicas)
	daemons := must(daemon.NewDaemonSetsController(ctx, apps.DaemonSets(), apps.ControllerRevisions(), core.Pods(), core.Nodes(),
		client, flowcontrol.NewBackOff(time.Second, time.Minute)))
	jobs := must(job.NewController(ctx, client, core.Pods(), shared.Batch().V1().Jobs(), nil, nil))
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(), shared.Discovery().V1().EndpointSlices(), 100, client, 0)
	namespaces := namespace.NewNamespaceController(ctx, client, meta, client.Discovery().ServerPreferredNamespacedResources,
		core.Namespaces(), 5*time.Minute, v1.FinalizerKubernetes)
	accounts := must(serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(),
		client, serviceaccount.DefaultServiceAccountsControllerOptions()))
	garbage := must(garbagecollector.NewGarbageCollector(ctx, client, meta, mapper, events,
		informerfactory.NewInformerFactory(shared, metaShared), started))
	scales := must(scale.NewForConfig(config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(client.Discovery())))
	autoscaler := podautoscaler.NewHorizontalController(ctx, client.CoreV1(), scales, client.AutoscalingV2(), mapper,
		podMetrics{core.Pods().Lister()}, shared.Autoscaling().V2().HorizontalPodAutoscalers(), core.Pods(),
		time.Second, 0, 0.1, 0, 0)
	kubelet(ctx, client, shared)

	shared.Start(ctx.Done())
	metaShared.Start(ctx.Done())
	close(started)
	go deployments.Run(ctx, 2)
	go replicas.Run(ctx, 2)
	go daemons.Run(ctx, 1)
	go jobs.Run(ctx, 1)
	go slices.Run(ctx, 1)
	go namespaces.Run(ctx, 2)
	go accounts.Run(ctx, 1)
	go garbage.Run(ctx, 4, 30*time.Second)
	go garbage.Sync(ctx, client.Discovery(), 2*time.Second)
	go autoscaler.Run(ctx, 1)
	// Scales of kinds that were installed after the start are found, too.
	go func() {
		for range time.Tick(5 * time.Second) {
			mapper.Reset()
		}
	}()
	shared.WaitForCacheSync(ctx.Done())
}
