//go:build tools

// Package lab pins the Helm client of the lab.
package lab

import _ "helm.sh/helm/v3/cmd/helm"
