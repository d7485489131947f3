package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const node = "fake-0"

const (
	// A pod with this annotation never becomes Ready: its value is the waiting reason, for example ImagePullBackOff
	// or CrashLoopBackOff. A pod that is to run to its end fails.
	failAnnotation = "kubetest/fail"
	// How long this pod takes to become Ready, or to end; a duration such as 2s.
	delayAnnotation = "kubetest/delay"
)

var podIP atomic.Int32

// kubelet binds every pod to one fake node, drives its status and serves its log.
func kubelet(ctx context.Context, client kubernetes.Interface, shared informers.SharedInformerFactory) {
	capacity := v1.ResourceList{}
	check(json.Unmarshal([]byte(`{"cpu":"64","memory":"256Gi","pods":"10000"}`), &capacity))
	fake := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/hostname": node}},
		Status: v1.NodeStatus{Capacity: capacity, Allocatable: capacity,
			Addresses:       []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: serveLogs(shared.Core().V1().Pods().Lister())}},
			Conditions:      []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "Fake"}}},
	}
	nodes := client.CoreV1().Nodes()
	// One that an earlier run left names the port of that run.
	if err := nodes.Delete(ctx, node, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		log.Fatal(err)
	}
	must(nodes.Create(ctx, fake, metav1.CreateOptions{}))
	handle := func(object any) {
		if pod, ok := object.(*v1.Pod); ok {
			go func() {
				if err := drive(ctx, client, pod); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
					log.Printf("pod %s/%s: %v", pod.Namespace, pod.Name, err)
				}
			}()
		}
	}
	shared.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: handle, UpdateFunc: func(_, object any) { handle(object) },
	})
}

// drive brings a pod one step further: bound, then started, then gone when it is deleted.
func drive(ctx context.Context, client kubernetes.Interface, pod *v1.Pod) error {
	pods := client.CoreV1().Pods(pod.Namespace)
	uid := pod.UID
	if pod.DeletionTimestamp != nil {
		zero := int64(0)
		return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
	}
	if pod.Spec.NodeName == "" {
		return pods.Bind(ctx, &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: uid},
			Target: v1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
	}
	if pod.Status.StartTime != nil {
		return nil
	}
	delay := *podDelay
	if own, err := time.ParseDuration(pod.Annotations[delayAnnotation]); err == nil {
		delay = own
	}
	select {
	case <-time.After(time.Until(pod.CreationTimestamp.Add(delay))):
	case <-ctx.Done():
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": status(pod)})
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

// status is what a pod comes to: Running and Ready, waiting for the reason its annotation names, or run to its end.
func status(pod *v1.Pod) v1.PodStatus {
	now := metav1.Now()
	number := podIP.Add(1)
	address := fmt.Sprintf("10.1.%d.%d", number/250%250, number%250+1)
	result := v1.PodStatus{Phase: v1.PodRunning, HostIP: "127.0.0.1", StartTime: &now, PodIP: address, PodIPs: []v1.PodIP{{IP: address}}}
	reason := pod.Annotations[failAnnotation]
	ends := pod.Spec.RestartPolicy != v1.RestartPolicyAlways
	var state v1.ContainerState
	switch {
	case ends && reason == "":
		result.Phase = v1.PodSucceeded
		state.Terminated = &v1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}
	case ends:
		result.Phase = v1.PodFailed
		state.Terminated = &v1.ContainerStateTerminated{ExitCode: 1, Reason: reason, StartedAt: now, FinishedAt: now}
	case reason == "":
		state.Running = &v1.ContainerStateRunning{StartedAt: now}
	default:
		result.Phase = v1.PodPending
		state.Waiting = &v1.ContainerStateWaiting{Reason: reason, Message: "asked for by the test"}
	}
	running := result.Phase == v1.PodRunning
	truth := map[bool]v1.ConditionStatus{true: v1.ConditionTrue, false: v1.ConditionFalse}
	for _, kind := range []v1.PodConditionType{v1.PodInitialized, v1.PodScheduled, v1.ContainersReady, v1.PodReady} {
		holds := running || kind == v1.PodInitialized || kind == v1.PodScheduled
		result.Conditions = append(result.Conditions, v1.PodCondition{Type: kind, Status: truth[holds], LastTransitionTime: now})
	}
	for _, container := range pod.Spec.Containers {
		result.ContainerStatuses = append(result.ContainerStatuses, v1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: running, Started: &running, State: state,
		})
	}
	return result
}
