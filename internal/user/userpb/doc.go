// Package userpb is what the user service offers to the other services, as
// protobuf messages and gRPC stubs. user.proto is the source; everything else
// is generated from it by tools/generate.sh.
//
// It is the one package of user that other services may import. It holds no
// behaviour and checks nothing: user/rpc.go checks what arrives.
package userpb
