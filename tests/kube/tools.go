package main

// Gateway API's resource definitions come from this module; build.sh puts them beside the program.
import _ "sigs.k8s.io/gateway-api/pkg/consts"
