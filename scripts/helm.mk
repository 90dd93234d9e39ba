# The Helm chart and the image. Included by the top Makefile.
HELM_PYTHON = target/tools/helm-venv/bin/python

.PHONY: setup-helm test-chart test-helm test-helm-apiserver helm-capacity image
setup-helm: ## Helm, Kubernetes schemas, Redis and an S3 server for tests, into target/tools
	@scripts/setup-helm.sh
	@scripts/setup-redis.sh
	@scripts/setup-s3.sh

test-chart: setup-helm ## Chart and image without running them: lint, schemas, policies, templates
	EMET_BIN=$(TARGET_DIR)/debug/emet $(HELM_PYTHON) deploy/helm/tests/run.py test_image test_options test_policy test_schemas test_templates

test-helm: setup-helm ## Chart and image: lint, schemas, policies, templates; the pods run as real processes
	CARGO=$(CARGO) scripts/build-releases.sh
	EMET_BIN=$(TARGET_DIR)/debug/emet $(HELM_PYTHON) deploy/helm/tests/run.py

test-helm-apiserver: setup-helm ## Install, upgrade, roll back, uninstall on a real Kubernetes API server (builds it: 10 minutes, once)
	@scripts/setup-apiserver.sh
	$(HELM_PYTHON) deploy/helm/tests/run.py test_apiserver

helm-capacity: setup-helm ## What calls cost each role: processor time and memory, measured with the pods of the chart
	$(CARGO) build --release --workspace --bin emet
	EMET_BIN=$(TARGET_DIR)/release/emet $(HELM_PYTHON) -u deploy/helm/tests/capacity.py

image: ## The container image of the release build, into target/emet-image.tar, without a container engine
	$(CARGO) build --release --workspace --bin emet
	deploy/image/assemble.py oci $(TARGET_DIR)/release/emet target/emet-image.tar
