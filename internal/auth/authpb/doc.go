// Package authpb is what the auth service offers to the other services, as
// protobuf messages and gRPC stubs. auth.proto is the source; everything else
// is generated from it by tools/generate.sh.
//
// It is the one package of auth that other services may import. It holds no
// behaviour and checks nothing: auth/rpc.go checks what arrives.
package authpb
