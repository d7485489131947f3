// Command kubetest runs a whole test control plane in one process, on loopback: an embedded etcd, kube-apiserver, the
// real controllers that rollouts need, and a fake kubelet that binds pods to a fake node and makes them Ready or fail
// as their annotations say.
//
//	kubetest --dir DIR [--port 0] [--keep] [--until-eof] [--etcd-delay 100ms]
//	kubetest helm CHART NAMESPACE | kustomize FOLDER: see render.go
//
// It writes DIR/admin.kubeconfig and, once all of it works, DIR/ready. SIGTERM ends it, and with --until-eof so does
// the end of standard input. SIGUSR1 makes etcd as slow as --etcd-delay says.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var (
	dir      = flag.String("dir", "", "state folder; emptied of earlier state unless --keep")
	port     = flag.Int("port", 0, "API server port on 127.0.0.1; 0: any free one")
	keep     = flag.Bool("keep", false, "go on with the objects, keys and certificates of an earlier run in the same folder")
	untilEOF = flag.Bool("until-eof", false, "end when standard input closes, so that it cannot outlive the test that started it; without --keep the state folder goes, too")
	podDelay = flag.Duration("pod-delay", 0, "how long a pod takes to become Ready")
	etcdSlow = flag.Duration("etcd-delay", 0, "how much longer etcd takes for what it is told after a SIGUSR1")
	extra    = flag.String("api-flags", "", "more kube-apiserver flags, space separated")
)

// must returns the value, or ends the program with the error and the line that met it.
func must[T any](v T, err error) T {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
	return v
}

func check(err error) { must(0, err) }

// file is a path in the state folder.
func file(name string) string { return filepath.Join(*dir, name) }

func main() {
	flag.Parse()
	if render(flag.Args()) {
		return
	}
	if *dir == "" {
		log.Fatal("--dir is required")
	}
	if *untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			if !*keep {
				os.RemoveAll(*dir)
			}
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
	}
	start := time.Now()
	check(os.MkdirAll(*dir, 0o700))
	os.Remove(file("ready"))
	ports := freePorts(port)
	etcd := startEtcd(ports[0], ports[1])
	if !*keep || !exists("admin.kubeconfig") {
		pki(*port)
	}

	address := etcd.Clients[0].Addr().String()
	if *etcdSlow > 0 {
		address = slow(address)
	}
	done := startAPIServer(address, strings.Fields(*extra))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, client := connect(ctx, done)
	controllers(ctx, config, client)
	check(os.WriteFile(file("ready"), []byte("ok\n"), 0o600))
	log.Printf("ready after %v", time.Since(start).Round(time.Millisecond))

	err := <-done
	etcd.Close()
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := os.Stat(file(name))
	return err == nil
}
