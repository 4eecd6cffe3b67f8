package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// cloudFactories are further rows of the suite: what stands for a cloud on this
// machine, and servers beside it.
func cloudFactories() []factory {
	return []factory{
		{
			name:     "clickhouse",
			programs: []string{"clickhouse-server", "curl"},
			star: `load("@std//clickhouse.star", "clickhouse")
clickhouse("a", port = $A, databases = ["shop"])
clickhouse("b", port = $B, databases = ["shop", "more"])
`,
			ping: httpPing("/ping"),
			put: func(i *instance, value string) error {
				for _, q := range []string{"CREATE TABLE shop.kept (d String) ENGINE = Log", "INSERT INTO shop.kept VALUES ('" + value + "')"} {
					if _, err := i.http("POST", "/", q); err != nil {
						return err
					}
				}
				return nil
			},
			get: func(i *instance) (string, error) { return trimmed(i.http("POST", "/", "SELECT d FROM shop.kept")) },
		},
		{
			name:     "azurite",
			programs: []string{"azurite", "node"},
			byHand:   true,
			star: `load("@std//azurite.star", "azurite")
azurite("a", port = $A, containers = ["kept"])
azurite("b", port = $B, containers = ["kept"], settings = {"loose": True})
`,
			ping: func(i *instance) error { _, err := i.blob("GET", "", ""); return err },
			put:  func(i *instance, value string) error { _, err := i.blob("PUT", "/datum", value); return err },
			get:  func(i *instance) (string, error) { return i.blob("GET", "/datum", "") },
			lost: true, // what is younger than some seconds
			slow: true,
			once: true,
		},
		{
			name:     "dynalite",
			programs: []string{"dynalite", "curl"},
			star: `load("@std//dynalite.star", "dynalite")
dynalite("a", port = $A, tables = {"kept": "id"})
dynalite("b", port = $B, tables = {"kept": "id"}, settings = {"maxItemSizeKb": 800})
`,
			ping: func(i *instance) error { _, err := i.dynamo("ListTables", "{}"); return err },
			put: func(i *instance, value string) error {
				_, err := i.dynamo("PutItem", `{"TableName":"kept","Item":{"id":{"S":"datum"},"v":{"S":"`+value+`"}}}`)
				return err
			},
			get: func(i *instance) (string, error) {
				text, err := i.dynamo("GetItem", `{"TableName":"kept","Key":{"id":{"S":"datum"}}}`)
				var found struct {
					Item struct{ V struct{ S string } }
				}
				if err == nil {
					err = json.Unmarshal([]byte(text), &found)
				}
				return found.Item.V.S, err
			},
			once: true,
		},
		{
			name:     "otel_collector",
			byHand:   true,
			programs: []string{"otelcol"},
			star: `load("@std//otel_collector.star", "otel_collector")
otel_collector("a", port = $A)
otel_collector("b", port = $B, exporters = {"debug": {"verbosity": "detailed"}})
`,
			ping:   func(i *instance) error { _, err := i.typed("/v1/logs", "application/json", "{}", nil); return err },
			reload: true,
			once:   true,
		},
		{
			name:     "pubsub",
			programs: []string{googleSDK + "/pubsub-emulator/bin/cloud-pubsub-emulator", "java", "curl"},
			byHand:   true,
			star: `load("@std//pubsub.star", "pubsub")
pubsub("a", port = $A, topics = {"orders": ["billing"]})
pubsub("b", port = $B, topics = {"orders": []})
`,
			ping: func(i *instance) error { _, err := i.read("/v1/projects/demo/topics"); return err },
			put: func(i *instance, value string) error {
				err := says("projects/demo/topics/orders", func() (string, error) { return i.read("/v1/projects/demo/topics") })
				if err == nil {
					_, err = i.do("PUT", "/v1/projects/demo/topics/"+value, "{}", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
				}
				return err
			},
			get: func(i *instance) (string, error) {
				text, err := i.read("/v1/projects/demo/topics/datum-of-" + i.name)
				var topic struct{ Name string }
				if err == nil {
					err = json.Unmarshal([]byte(text), &topic)
				}
				return strings.TrimPrefix(topic.Name, "projects/demo/topics/"), err
			},
			lost: true,
			slow: true,
			once: true,
		},
		{
			name:     "firestore",
			programs: []string{googleSDK + "/cloud-firestore-emulator/cloud_firestore_emulator", "java"},
			byHand:   true,
			star: `load("@std//firestore.star", "firestore")
firestore("a", port = $A)
firestore("b", port = $B, mode = "firestore-native")
`,
			ping: func(i *instance) error { _, err := i.read("/"); return err },
			put: func(i *instance, value string) error {
				_, err := i.typed("/v1/projects/demo/databases/(default)/documents/kept?documentId=datum", "application/json", `{"fields":{"v":{"stringValue":"`+value+`"}}}`, nil)
				return err
			},
			get: func(i *instance) (string, error) {
				text, err := i.read("/v1/projects/demo/databases/(default)/documents/kept/datum")
				var found struct {
					Fields struct{ V struct{ StringValue string } }
				}
				if err == nil {
					err = json.Unmarshal([]byte(text), &found)
				}
				return found.Fields.V.StringValue, err
			},
			lost: true,
			slow: true,
			once: true,
		},
		{
			name:     "datastore",
			programs: []string{googleSDK + "/cloud-datastore-emulator/cloud_datastore_emulator", "java"},
			byHand:   true,
			star: `load("@std//datastore.star", "datastore")
datastore("a", port = $A)
datastore("b", port = $B, persist = False)
`,
			ping: func(i *instance) error { _, err := i.read("/"); return err },
			put: func(i *instance, value string) error {
				_, err := i.typed("/v1/projects/demo:commit", "application/json", `{"mode":"NON_TRANSACTIONAL","mutations":[{"upsert":{"key":{"path":[{"kind":"kept","name":"datum"}]},"properties":{"v":{"stringValue":"`+value+`"}}}}]}`, nil)
				return err
			},
			get: func(i *instance) (string, error) {
				text, err := i.typed("/v1/projects/demo:lookup", "application/json", `{"keys":[{"path":[{"kind":"kept","name":"datum"}]}]}`, nil)
				var found struct {
					Found []struct {
						Entity struct {
							Properties struct{ V struct{ StringValue string } }
						}
					}
				}
				if err == nil {
					err = json.Unmarshal([]byte(text), &found)
				}
				if err != nil || len(found.Found) != 1 {
					return "", fmt.Errorf("got %s, want one entity: %v", text, err)
				}
				return found.Found[0].Entity.Properties.V.StringValue, nil
			},
			lost: true,
			slow: true,
			once: true,
		},
		{
			name:     "bigtable",
			programs: []string{googleSDK + "/bigtable-emulator/cbtemulator"},
			byHand:   true,
			star: `load("@std//bigtable.star", "bigtable")
bigtable("a", port = $A)
bigtable("b", port = $B)
`,
			// HTTP/2's preface and empty settings are answered by settings.
			ping: func(i *instance) error {
				return i.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 4, 4)
			},
			once: true,
		},
	}
}

// googleSDK is where the packages of Google's repository put the emulators.
const googleSDK = "/usr/lib/google-cloud-sdk/platform"

func trimmed(text string, err error) (string, error) { return strings.TrimSpace(text), err }

// read is a GET; the first of a Java server may take seconds.
func (i *instance) read(path string) (string, error) {
	return i.do("GET", path, "", func(*http.Request) {})
}

// typed posts a body of a type, with further headers.
func (i *instance) typed(path, kind, body string, headers map[string]string) (string, error) {
	return i.do("POST", path, body, func(r *http.Request) {
		r.Header.Set("Content-Type", kind)
		for name, value := range headers {
			r.Header.Set(name, value)
		}
	})
}

// do makes a request that is changed before it is sent.
func (i *instance) do(method, path, body string, change func(r *http.Request)) (string, error) {
	request, err := http.NewRequest(method, "http://127.0.0.1:"+i.v("PORT")+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Close = true
	change(request)
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: got %s: %s", method, path, answer.Status, text)
	}
	return string(text), err
}

// dynamo makes a request of DynamoDB; dynalite looks for a signature only.
func (i *instance) dynamo(what, body string) (string, error) {
	return i.typed("/", "application/x-amz-json-1.0", body, map[string]string{
		"X-Amz-Target":  "DynamoDB_20120810." + what,
		"X-Amz-Date":    "20200101T000000Z",
		"Authorization": "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
	})
}

// blob makes a signed request of Azurite: of the container kept, or of a blob in it.
func (i *instance) blob(method, name, value string) (string, error) {
	const account, key, version = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==", "2021-08-06"
	path, query, signed := "/"+account+"/kept"+name, "", ""
	if name == "" {
		query, signed = "?restype=container&comp=list", "\ncomp:list\nrestype:container"
	}
	length, kind, extra := "", "", ""
	if method == "PUT" {
		length, kind, extra = fmt.Sprint(len(value)), "text/plain", "x-ms-blob-type:BlockBlob\n"
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	text := method + "\n\n\n" + length + "\n\n" + kind + "\n\n\n\n\n\n\n" + extra + "x-ms-date:" + date + "\nx-ms-version:" + version + "\n/" + account + path + signed
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return i.do(method, path+query, value, func(r *http.Request) {
		r.Header.Set("x-ms-date", date)
		r.Header.Set("x-ms-version", version)
		r.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		if method == "PUT" {
			r.Header.Set("Content-Type", kind)
			r.Header.Set("x-ms-blob-type", "BlockBlob")
		}
	})
}
