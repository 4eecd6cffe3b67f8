package engine

import "path/filepath"

// packageHint says which package holds a well-known program that was not
// found; "" when it is not known. A tool() declares its packages itself.
func packageHint(program string) string {
	var deb string
	switch filepath.Base(program) {
	case "postgres", "initdb", "pg_ctl":
		deb = "postgresql"
	case "psql", "pg_isready", "createdb":
		deb = "postgresql-client"
	case "redis-server":
		deb = "redis-server"
	case "redis-cli":
		deb = "redis-tools"
	case "nginx", "caddy", "haproxy", "memcached", "mosquitto", "make", "git", "curl", "jq":
		deb = filepath.Base(program)
	case "mariadbd", "mysqld":
		deb = "mariadb-server"
	case "etcd":
		deb = "etcd-server"
	case "node", "nodejs":
		deb = "nodejs"
	case "npm", "npx":
		deb = "npm"
	case "python3", "python":
		deb = "python3"
	case "go", "gofmt":
		deb = "golang"
	case "cargo", "rustc":
		deb = "cargo"
	case "ruby", "bundle":
		deb = "ruby-bundler"
	case "php":
		deb = "php-cli"
	default:
		return ""
	}
	return "on Debian: apt install " + deb
}
