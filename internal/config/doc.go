// Package config holds every setting that Nova has, in one struct.
//
// A setting has one name in three spellings: data_dir in the file, --data-dir on
// the command line, NOVA_DATA_DIR in the environment. A flag beats the
// environment, which beats the file, which beats the default; [Loaded] says
// where each value came from.
//
// [Load] refuses what it does not know and what cannot work, all of it at once,
// with the setting's name, where it was set and what would be right. No message
// holds a value: it could be a login that stands in the wrong place. What
// depends on the world outside (a port in use, a folder that cannot be written)
// is found out at start, not here.
package config
