package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// moreFactories are the rows of the servers that come from few distributions, or none.
func moreFactories() []factory {
	const stripeAuth = "Bearer sk_test_123"
	const index = "application/vnd.oci.image.index.v1+json"
	return []factory{
		{
			name:     "valkey",
			programs: []string{"valkey-server"},
			byHand:   true,
			star: `load("@std//valkey.star", "valkey")
valkey("a", settings = {"appendonly": True})
valkey("b", port = $B)
`,
			ping: func(i *instance) error { return i.talk("PING\r\n", "+PONG") },
			put:  func(i *instance, value string) error { return i.talk("SET datum "+value+"\r\n", "+OK") },
			get:  func(i *instance) (string, error) { return i.lines("GET datum\r\n", 2) },
		},
		{
			name:     "influxdb",
			programs: []string{"influxd", "influx"},
			star: `load("@std//influxdb.star", "influxdb")
influxdb("a", port = $A, databases = ["shop"])
influxdb("b", port = $B, databases = ["shop"], settings = {"data": {"index-version": "tsi1"}})
`,
			ping: httpPing("/ping"),
			put: func(i *instance, value string) error {
				_, err := i.http("POST", "/write?db=shop", `kept datum="`+value+`"`)
				return err
			},
			get: func(i *instance) (string, error) {
				query := "/query?db=shop&q=" + url.QueryEscape("select datum from kept")
				return i.find("GET", query, "", "results", 0, "series", 0, "values", 0, 1)
			},
		},
		{
			name:     "victoria_metrics",
			programs: []string{"victoria-metrics"},
			star: `load("@std//victoria_metrics.star", "victoria_metrics")
a = victoria_metrics("a", port = $A, interval = "5s")
victoria_metrics("b", port = $B, scrape = {"other": [a.address]})
`,
			ping: httpPing("/health"),
			put: func(i *instance, value string) error {
				_, err := i.http("POST", "/api/v1/import/prometheus", `kept{datum="`+value+`"} 1`)
				if err == nil {
					_, err = i.http("GET", "/internal/force_flush", "")
				}
				return err
			},
			get: func(i *instance) (string, error) {
				return i.find("GET", "/api/v1/series?match[]=kept", "", "data", 0, "datum")
			},
			lost:   true, // what is younger than some seconds
			reload: true,
			edit:   [2]string{`"5s"`, `"7s"`},
			edited: func(i *instance) error {
				return says("scrape_interval: 7s", func() (string, error) { return i.http("GET", "/config", "") })
			},
		},
		{
			name:     "docker_registry",
			programs: []string{"docker-registry"},
			star: `load("@std//docker_registry.star", "docker_registry")
docker_registry("a", port = None)
docker_registry("b", port = $B)
`,
			ping: httpPing("/v2/"),
			put: func(i *instance, value string) error {
				manifest := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": %q, "manifests": [], "annotations": {"datum": %q}}`, index, value)
				_, err := i.http("PUT", "/v2/kept/manifests/latest", manifest, "Content-Type", index)
				return err
			},
			get: func(i *instance) (string, error) {
				manifest, err := i.http("GET", "/v2/kept/manifests/latest", "", "Accept", index)
				if err != nil {
					return "", err
				}
				return inJSON(manifest, "annotations", "datum")
			},
		},
		{
			name:     "zookeeper",
			programs: []string{"/usr/share/zookeeper/bin/zkServer.sh"},
			star: `load("@std//zookeeper.star", "zookeeper")
zookeeper("a", port = $A)
zookeeper("b", port = $B, heap = "128m", settings = {"maxClientCnxns": 50})
`,
			ping: func(i *instance) error { return i.exchange("ruok", 4, 'k') },
			put:  zookeeperPut,
			get:  zookeeperGet,
			slow: true,
		},
		{
			name:     "stripe_mock",
			programs: []string{"stripe-mock"},
			star: `load("@std//stripe_mock.star", "stripe_mock")
stripe_mock("a", port = None)
stripe_mock("b", port = $B)
`,
			ping: func(i *instance) error {
				_, err := i.http("GET", "/v1/charges", "", "Authorization", stripeAuth)
				return err
			},
			slow: true,
		},
		{
			name:     "toxiproxy",
			programs: []string{"toxiproxy-server", "redis-server"},
			star: `load("@std//redis.star", "redis")
load("@std//toxiproxy.star", "toxiproxy")
one = redis("one", port = 6379)
two = redis("two", port = 6379)
toxiproxy("a", port = $A, proxies = {"cache": one.address})
toxiproxy("b", port = $B, proxies = {"cache": {"upstream": two.address, "port": 21000}})
`,
			ping: func(i *instance) error {
				return says(`"cache"`, func() (string, error) { return i.http("GET", "/proxies", "") })
			},
			put: func(i *instance, value string) error {
				return i.through("CACHE").talk("SET datum "+value+"\r\n", "+OK")
			},
			get: func(i *instance) (string, error) { return i.through("CACHE").lines("GET datum\r\n", 2) },
		},
		{
			name:     "minio",
			programs: []string{"minio", "curl"},
			byHand:   true,
			star: `load("@std//minio.star", "minio")
minio("a", port = $A, buckets = ["kept", "more"])
minio("b", port = $B, console = $A, buckets = ["kept"], secret_key = "another-secret")
`,
			ping: httpPing("/minio/health/ready"),
			put: func(i *instance, value string) error {
				_, err := i.s3("--data", value, "--request", "PUT")
				return err
			},
			get: func(i *instance) (string, error) { return i.s3() },
		},
		{
			name:     "vault",
			programs: []string{"vault"},
			byHand:   true,
			star: `load("@std//vault.star", "vault")
vault("a", port = None)
vault("b", port = $B)
`,
			ping: httpPing("/v1/sys/health"),
			put: func(i *instance, value string) error {
				data, err := json.Marshal(map[string]any{"data": map[string]string{"datum": value}})
				if err == nil {
					_, err = i.http("POST", "/v1/secret/data/kept", string(data), "X-Vault-Token", "root")
				}
				return err
			},
			get: func(i *instance) (string, error) {
				answer, err := i.http("GET", "/v1/secret/data/kept", "", "X-Vault-Token", "root")
				if err != nil {
					return "", err
				}
				return inJSON(answer, "data", "data", "datum")
			},
		},
		{
			name:     "temporal",
			programs: []string{"temporal"},
			byHand:   true,
			star: `load("@std//temporal.star", "temporal")
temporal("a", port = $A)
temporal("b", port = $B, namespaces = ["shop"])
`,
			ping: func(i *instance) error {
				_, err := i.through("HTTP").http("GET", "/api/v1/namespaces/default", "")
				return err
			},
			put: func(i *instance, value string) error {
				body := fmt.Sprintf(`{"namespace": "kept", "description": %q, "workflowExecutionRetentionPeriod": "86400s"}`, value)
				_, err := i.through("HTTP").http("POST", "/api/v1/namespaces", body)
				return err
			},
			get: func(i *instance) (string, error) {
				return i.through("HTTP").find("GET", "/api/v1/namespaces/kept", "", "namespaceInfo", "description")
			},
		},
		{
			name:     "jaeger",
			programs: []string{"jaeger"},
			byHand:   true,
			star: `load("@std//jaeger.star", "jaeger")
jaeger("a", port = $A)
jaeger("b", port = $B, keep = "1h")
`,
			ping: httpPing("/api/services"),
			put: func(i *instance, value string) error {
				const span = `{"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "kept"}}]}, "scopeSpans": [{"spans": [
					{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": %q, "kind": 1, "startTimeUnixNano": "%d", "endTimeUnixNano": "%d"}]}]}]}`
				now := time.Now().UnixNano()
				_, err := i.through("OTLP").http("POST", "/v1/traces", fmt.Sprintf(span, value, now, now+1000), "Content-Type", "application/json")
				return err
			},
			get: func(i *instance) (string, error) {
				return i.find("GET", "/api/traces/0af7651916cd43dd8448eb211c80319c", "", "data", 0, "spans", 0, "operationName")
			},
		},
	}
}

// through is the instance as its clients see it behind another of its ports.
func (i *instance) through(port string) *instance {
	name := strings.ToUpper(i.name)
	return &instance{c: i.c, name: i.name, env: map[string]string{name + "_PORT": i.v(port + "_PORT")}}
}

// s3 makes a signed request for an object.
func (i *instance) s3(args ...string) (string, error) {
	user := "orrery:orrery-secret"
	if i.name == "b" {
		user = "orrery:another-secret"
	}
	return i.run(append([]string{
		"curl", "--silent", "--show-error", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", user,
		"--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", i.v("URL") + "/kept/datum",
	}, args...)...)
}
