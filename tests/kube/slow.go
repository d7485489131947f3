package main

import (
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// slow passes connections on to etcd and returns its own address. After a SIGUSR1 everything that is sent to etcd waits
// for --etcd-delay first, as it would before a busy disk.
func slow(etcd string) string {
	var delay atomic.Int64
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		<-asked
		delay.Store(int64(*etcdSlow))
	}()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() {
		for {
			client := must(listener.Accept())
			server := must(net.Dial("tcp", etcd))
			go pass(server, client, &delay)
			go pass(client, server, new(atomic.Int64))
		}
	}()
	return listener.Addr().String()
}

// pass copies until one side closes, each piece after the delay.
func pass(to, from net.Conn, delay *atomic.Int64) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		number, err := from.Read(buffer)
		time.Sleep(time.Duration(delay.Load()))
		if _, failed := to.Write(buffer[:number]); failed != nil || err != nil {
			return
		}
	}
}
