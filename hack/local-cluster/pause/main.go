// The program of the pause image: it holds a pod's namespaces, reaps orphans, and ends when asked to.
// Called as `pause resolve NAME` it ends once the name resolves, which shows that DNS works in a pod.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const resolveDeadline = 60 * time.Second

func main() {
	if len(os.Args) == 3 && os.Args[1] == "resolve" {
		resolve(os.Args[2])
		return
	}
	pause()
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func resolve(name string) {
	deadline := time.Now().Add(resolveDeadline)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		cancel()
		fmt.Println(name, addresses, err)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			os.Exit(1)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
