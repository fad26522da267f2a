// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

const manifests = "../kubernetes"

// attachment is a NetworkAttachmentDefinition, as its custom resource definition of
// k8s.cni.cncf.io/v1 has it.
type attachment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Config string `json:"config"`
	} `json:"spec"`
}

// hostDevice is the configuration of the plugin host-device, with its static addresses.
type hostDevice struct {
	types.PluginConf
	Device    string `json:"device,omitempty"`
	HWAddr    string `json:"hwaddr,omitempty"`
	KernPath  string `json:"kernelpath,omitempty"`
	PCIBusID  string `json:"pciBusID,omitempty"`
	IPAM      static `json:"ipam"`
	Unchecked any    `json:"runtimeConfig,omitempty"`
}

type static struct {
	Type      string `json:"type"`
	Addresses []struct {
		Address string `json:"address"`
		Gateway string `json:"gateway,omitempty"`
	} `json:"addresses"`
}

// objects are those of a file, by kind, each decoded into its type. A field that the type
// does not have is an error.
func objects(t *testing.T, name string) map[string]any {
	t.Helper()
	all := map[string]any{}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(read(t, filepath.Join(manifests, name)))))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kind := meta.APIVersion + " " + meta.Kind
		into, ok := map[string]any{
			"v1 ConfigMap":        &corev1.ConfigMap{},
			"v1 Service":          &corev1.Service{},
			"apps/v1 StatefulSet": &appsv1.StatefulSet{},
			"k8s.cni.cncf.io/v1 NetworkAttachmentDefinition":     &attachment{},
			"kubelet.config.k8s.io/v1beta1 KubeletConfiguration": &kubelet.KubeletConfiguration{},
		}[kind]
		if !ok {
			t.Fatalf("%s: an object of kind %s", name, kind)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Fatalf("%s: %s: %v", name, kind, err)
		}
		if all[kind] != nil {
			t.Fatalf("%s: two objects of kind %s", name, kind)
		}
		all[kind] = into
	}
}

// object is that of a kind in a file.
func object[T any](t *testing.T, name string) *T {
	t.Helper()
	for _, o := range objects(t, name) {
		if o, ok := o.(*T); ok {
			return o
		}
	}
	t.Fatalf("%s: no %T", name, *new(T))
	return nil
}

// TestManifestsAreStrict decodes every file.
func TestManifestsAreStrict(t *testing.T) {
	files, err := os.ReadDir(manifests)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		n += len(objects(t, f.Name()))
	}
	if n != 5 {
		t.Errorf("%d objects", n)
	}
	var s appsv1.StatefulSet
	if err := yaml.UnmarshalStrict([]byte("kind: StatefulSet\nspec: {replica: 1}"), &s); err == nil {
		t.Error("an unknown field is no error: this test finds nothing")
	}
}

// TestAttachment: the network is a device of the host, and the one that the pod asks for.
func TestAttachment(t *testing.T) {
	nad := object[attachment](t, "network.yaml")
	dec := json.NewDecoder(strings.NewReader(nad.Spec.Config))
	dec.DisallowUnknownFields()
	var c hostDevice
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.Type != "host-device" || c.Device == "" || c.Name != nad.Name || c.CNIVersion == "" || c.IPAM.Type != "static" || len(c.IPAM.Addresses) != 1 {
		t.Errorf("%+v", c)
	}
	pod := object[appsv1.StatefulSet](t, "receiver.yaml").Spec.Template
	var asked []struct{ Name, Interface string }
	if err := json.Unmarshal([]byte(pod.Annotations["k8s.v1.cni.cncf.io/networks"]), &asked); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0].Name != nad.Name {
		t.Fatalf("the pod asks for %v, and there is %s", asked, nad.Name)
	}
	if config := object[corev1.ConfigMap](t, "receiver.yaml").Data["speadx.yaml"]; !strings.Contains(config, "interface: ["+asked[0].Interface+"]") {
		t.Errorf("the interface is %s, and the configuration\n%s", asked[0].Interface, config)
	}
}

// TestPodResources: the pod gets whole processors to itself and huge pages, which
// Kubernetes gives only to pods that ask for exactly what they may use.
func TestPodResources(t *testing.T) {
	set := object[appsv1.StatefulSet](t, "receiver.yaml")
	pod := set.Spec.Template.Spec
	if len(pod.InitContainers) > 0 || len(pod.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	c := pod.Containers[0]
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceHugePagesPrefix + "2Mi"} {
		request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
		if request.IsZero() || request.Cmp(limit) != 0 {
			t.Errorf("%s: request %v, limit %v: not Guaranteed", name, &request, &limit)
		}
	}
	if cpu := c.Resources.Limits.Cpu(); cpu.MilliValue()%1000 != 0 {
		t.Errorf("%v processors are not whole ones", cpu)
	}
	if pages := c.Resources.Limits[corev1.ResourceHugePagesPrefix+"2Mi"]; pages.Value()%(2<<20) != 0 {
		t.Errorf("%v is no number of huge pages", &pages)
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range c.VolumeMounts {
		if _, ok := volumes[m.Name]; !ok {
			t.Errorf("no volume %s", m.Name)
		}
	}
	if v := volumes["hugepages"].EmptyDir; v == nil || v.Medium != "HugePages-2Mi" {
		t.Errorf("volume hugepages: %+v", v)
	}
	if v := volumes["config"].ConfigMap; v == nil || v.Name != object[corev1.ConfigMap](t, "receiver.yaml").Name {
		t.Errorf("volume config: %+v", v)
	}
	k := object[kubelet.KubeletConfiguration](t, "kubelet.yaml")
	if k.CPUManagerPolicy != "static" || k.TopologyManagerPolicy != "single-numa-node" || k.ReservedSystemCPUs == "" {
		t.Errorf("%+v", k)
	}
}

// TestPodPrivileges: the capabilities are those that docs/deployment.md lists, and nothing else is allowed.
func TestPodPrivileges(t *testing.T) {
	pod := object[appsv1.StatefulSet](t, "receiver.yaml").Spec.Template.Spec
	s := pod.Containers[0].SecurityContext
	if s.Privileged != nil && *s.Privileged || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
		pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v, %+v", pod.SecurityContext, s)
	}
	if !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("dropped: %v", s.Capabilities.Drop)
	}
	documented := string(read(t, root+"/docs/deployment.md"))
	for _, c := range s.Capabilities.Add {
		if !strings.Contains(documented, "| `CAP_"+string(c)+"` |") {
			t.Errorf("CAP_%s is not in docs/deployment.md", c)
		}
	}
	for _, c := range []corev1.Capability{"NET_RAW", "NET_ADMIN", "BPF"} {
		if !slices.Contains(s.Capabilities.Add, c) {
			t.Errorf("without %s", c)
		}
	}
}

// TestPodProbes: what the kubelet and Prometheus ask is what the program serves.
func TestPodProbes(t *testing.T) {
	set := object[appsv1.StatefulSet](t, "receiver.yaml")
	c := set.Spec.Template.Spec.Containers[0]
	if len(c.Ports) != 1 || c.Ports[0].ContainerPort != 9717 {
		t.Fatalf("ports %+v", c.Ports)
	}
	for what, p := range map[string]struct {
		probe *corev1.Probe
		path  string
	}{
		"startup": {c.StartupProbe, "/livez"}, "readiness": {c.ReadinessProbe, "/readyz"}, "liveness": {c.LivenessProbe, "/livez"},
	} {
		if p.probe == nil || p.probe.HTTPGet == nil || p.probe.HTTPGet.Path != p.path || p.probe.HTTPGet.Port.StrVal != c.Ports[0].Name {
			t.Errorf("%s: %+v", what, p.probe)
		}
	}
	i := slices.Index(c.Args, "--metrics")
	if i < 0 || i+1 == len(c.Args) || c.Args[i+1] != fmt.Sprintf(":%d", c.Ports[0].ContainerPort) {
		t.Errorf("arguments %q", c.Args)
	}
	service := object[corev1.Service](t, "receiver.yaml")
	if service.Name != set.Spec.ServiceName || service.Spec.Ports[0].TargetPort.StrVal != c.Ports[0].Name {
		t.Errorf("service %+v", service)
	}
	for key, value := range service.Spec.Selector {
		if set.Spec.Template.Labels[key] != value || set.Spec.Selector.MatchLabels[key] != value {
			t.Errorf("label %s=%s", key, value)
		}
	}
}

// TestConfigurations: the program reads each configuration in deploy/, and finds nothing
// wrong with it.
func TestConfigurations(t *testing.T) {
	files := map[string]string{"the example": "../speadx.yaml"}
	for name, text := range object[corev1.ConfigMap](t, "receiver.yaml").Data {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files["Kubernetes: "+name] = path
	}
	// Lines that are off can be switched on as they are.
	example, on := string(read(t, "../speadx.yaml")), filepath.Join(t.TempDir(), "on.yaml")
	all := strings.ReplaceAll(example, "\n#metrics:", "\nmetrics:")
	if all == example {
		t.Error("the example does not say how metrics are served")
	}
	if err := os.WriteFile(on, []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
	files["the example with all on"] = on
	for what, path := range files {
		out, msg := output(t, exec.Command(theProgram(t), "config", "print", "--config", path))
		if !strings.Contains(out, "239.1.2.3:7148") || msg != "" {
			t.Errorf("%s: %s%s", what, out, msg)
		}
	}
}
