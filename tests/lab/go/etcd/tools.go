//go:build tools

// Package lab pins the etcd server of the lab.
package lab

import _ "go.etcd.io/etcd/server/v3"
