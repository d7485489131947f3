package main

import (
	"context"
	"errors"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

// A pod with this annotation uses that much CPU, for example 150m; without it, none is measured.
const cpuAnnotation = "kubetest/cpu"

var errUnknown = errors.New("the test cluster measures only the CPU of pods, by annotation")

// podMetrics answers the autoscaler from pods' annotations.
type podMetrics struct{ pods corelisters.PodLister }

func (m podMetrics) GetResourceMetric(_ context.Context, name v1.ResourceName, namespace string, selector labels.Selector, _ string) (metrics.PodMetricsInfo, time.Time, error) {
	now := time.Now()
	pods, err := m.pods.Pods(namespace).List(selector)
	if err != nil || name != v1.ResourceCPU {
		return nil, now, errors.Join(errUnknown, err)
	}
	info := metrics.PodMetricsInfo{}
	for _, pod := range pods {
		if quantity, err := resource.ParseQuantity(pod.Annotations[cpuAnnotation]); err == nil {
			info[pod.Name] = metrics.PodMetric{Timestamp: now, Window: time.Minute, Value: quantity.MilliValue()}
		}
	}
	return info, now, nil
}

func (podMetrics) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return nil, time.Time{}, errUnknown
}

func (podMetrics) GetObjectMetric(string, string, *autoscaling.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	return 0, time.Time{}, errUnknown
}

func (podMetrics) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	return nil, time.Time{}, errUnknown
}
