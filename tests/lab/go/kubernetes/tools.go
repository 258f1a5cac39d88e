//go:build tools

// Package lab pins the Kubernetes binaries of the lab: k8s.io/kubernetes cannot be
// installed by itself, because its own go.mod replaces the staging modules by folders.
package lab

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
