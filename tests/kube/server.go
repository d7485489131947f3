package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// freePorts fills in the API server's port where it is 0 and returns two more for etcd. All three are held open
// together, so they differ.
func freePorts(api *int) [2]int {
	var free [3]int
	var held [3]net.Listener
	for i := range held {
		held[i] = must(net.Listen("tcp", "127.0.0.1:0"))
		free[i] = held[i].Addr().(*net.TCPAddr).Port
	}
	for _, listener := range held {
		listener.Close()
	}
	if *api == 0 {
		*api = free[2]
	}
	return [2]int{free[0], free[1]}
}

func startEtcd(clientPort, peerPort int) *embed.Etcd {
	data := file("etcd")
	if !*keep {
		check(os.RemoveAll(data))
	}
	local := func(port int) []url.URL { return []url.URL{*must(url.Parse(fmt.Sprintf("http://127.0.0.1:%d", port)))} }
	config := embed.NewConfig()
	config.Dir, config.UnsafeNoFsync, config.LogLevel = data, true, "error"
	config.ListenClientUrls, config.AdvertiseClientUrls = local(clientPort), local(clientPort)
	config.ListenPeerUrls, config.AdvertisePeerUrls = local(peerPort), local(peerPort)
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd := must(embed.StartEtcd(config))
	<-etcd.Server.ReadyNotify()
	return etcd
}

// startAPIServer starts kube-apiserver, which ends on SIGINT or SIGTERM by itself; the channel says how it ended.
func startAPIServer(etcd string, extra []string) <-chan error {
	command := app.NewAPIServerCommand()
	command.SetArgs(append([]string{
		"--etcd-servers=http://" + etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", *port),
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--client-ca-file=" + file("ca.crt"),
		"--authorization-mode=RBAC", "--allow-privileged",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("sa.pub"), "--service-account-signing-key-file=" + file("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/16", "--endpoint-reconciler-type=none",
		"--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0",
		"--profiling=false",
	}, extra...))
	done := make(chan error, 1)
	go func() { done <- command.Execute() }()
	return done
}

// connect waits until the API server answers that it is ready.
func connect(ctx context.Context, done <-chan error) (*rest.Config, *kubernetes.Clientset) {
	config := must(clientcmd.BuildConfigFromFlags("", file("admin.kubeconfig")))
	config.QPS = -1
	client := must(kubernetes.NewForConfig(config))
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if body, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil && string(body) == "ok" {
			return config, client
		}
		select {
		case err := <-done:
			log.Fatalf("kube-apiserver ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			log.Fatal("kube-apiserver not ready in time")
		}
	}
}
