package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	listers "k8s.io/client-go/listers/core/v1"
)

// What each container of this pod has written.
const logAnnotation = "kubetest/log"

// serveLogs answers as a kubelet does when the API server asks it for the log of a container, and returns its port.
func serveLogs(pods listers.PodLister) int32 {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(answer http.ResponseWriter, request *http.Request) {
		pod, err := pods.Pods(request.PathValue("namespace")).Get(request.PathValue("pod"))
		if err != nil {
			http.Error(answer, err.Error(), http.StatusNotFound)
			return
		}
		if reason := pod.Annotations[failAnnotation]; pod.Status.Phase == v1.PodPending {
			message := fmt.Sprintf("container %q in pod %q is waiting to start: %s", request.PathValue("container"), pod.Name, reason)
			http.Error(answer, message, http.StatusBadRequest)
			return
		}
		lines := strings.Split(pod.Annotations[logAnnotation], "\n")
		if tail, err := strconv.Atoi(request.FormValue("tailLines")); err == nil && tail < len(lines) {
			lines = lines[len(lines)-tail:]
		}
		for _, line := range lines {
			fmt.Fprintln(answer, line)
		}
		if request.FormValue("follow") == "true" {
			check(http.NewResponseController(answer).Flush())
			<-request.Context().Done()
		}
	})
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { log.Fatal(http.ServeTLS(listener, mux, file("apiserver.crt"), file("apiserver.key"))) }()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}
