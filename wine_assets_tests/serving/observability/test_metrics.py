"""What Prometheus reads."""

import re
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from wine_assets.inference import Predictor
from wine_assets.serving.data_plane import LoadedModel
from wine_assets.serving.observability.drift_watch import MIN_ROWS, WINDOW_ROWS, DriftWatch
from wine_assets.serving.observability.metrics import Metrics
from wine_assets_tests.support.serving.models import KINDS, manifest_for, named_rows, request, rows
from wine_assets_tests.support.serving.server_process import Client, ServerProcess
from wine_assets_tests.support.wine_frames import exported

INFER = "/v2/models/wine/infer"


def samples(server: ServerProcess, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by its labels, in the order of their names."""
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in found}


def test_request_metrics_have_mlserver_names(own: ServerProcess) -> None:
    """Requests are counted under MLServer's metric names."""
    for _ in range(3):
        own.post(INFER, request(rows()[:1]))
    own.post(INFER, b"{")
    own.post(INFER, request(rows()[:1, :3]))
    own.post("/v2/models/beer/infer", request(rows()[:1]))
    assert samples(own, "model_infer_request_success_total") == {("wine", "1"): 3}
    assert samples(own, "model_infer_request_failure_total") == {("wine", "1"): 1, ("other", "other"): 1}
    path = "/v2/models/{model_name}/infer"
    requests = samples(own, "rest_server_requests_total")
    assert requests["wine-assets", "POST", path, "200"] == 3
    assert requests["wine-assets", "POST", path, "400"] == 2
    assert requests["wine-assets", "POST", path, "404"] == 1
    durations = samples(own, "rest_server_requests_duration_seconds_count")
    assert durations["wine-assets", "POST", path, "200"] == 3
    running = samples(own, "rest_server_requests_in_progress")
    assert running["wine-assets", "GET"] == 1  # this one
    assert running["wine-assets", "POST"] == 0


def test_nothing_that_a_client_says_becomes_a_label(own: ServerProcess) -> None:
    def labels() -> set[str]:
        return {*re.findall(r'="([^"]*)"', own.get("/metrics").body.decode())}

    with own.client() as client:
        client.get("/nothing")
        client.ask("PATCH", "/nothing", None)
        client.get("/v2/models/beer")
        client.get("/metrics")
        before = labels()
        for number in range(50):
            client.get(f"/nothing/{number}")
            client.get(f"/v2/models/beer-{number}")
            client.get(f"/v2/models/wine/versions/{number + 2}")
            client.ask(["PURGE", "MKCOL", "LINK", "COPY"][number % 4], "/nothing", None, X_Request_Id=f"id-{number}")
            client.get("/v2", Host="localhost")
    new = labels() - before
    assert new <= {"/v2/models/{model_name}/versions/{model_version}", "/v2", "other"}


def test_a_refusal_before_any_route_is_counted_too(own: ServerProcess) -> None:
    with own.connect() as connection:
        connection.sendall(b"garbage\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert samples(own, "rest_server_requests_total")["wine-assets", "other", "other", "400"] == 1


def test_a_load_is_counted_and_dated(own: ServerProcess) -> None:
    before = own.metric("wine_model_reload_last_success_timestamp_seconds")
    assert 0 <= time.time() - before < 600
    assert own.metric("wine_model_reload_success_total") == 1
    assert own.metric("wine_model_reload_failure_total") == 0


def test_the_figures_are_text_that_prometheus_reads(client: Client) -> None:
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(reply.body.decode()))
    assert all(family.documentation.endswith(".") for family in families)


# --- drift -------------------------------------------------------------------


@pytest.fixture
def model() -> LoadedModel:
    from wine_assets.inference import manifest

    content = exported(KINDS[0])
    return LoadedModel("wine", Predictor(content, manifest=manifest.decode(manifest_for(content)), version=1))


def test_inputs_as_in_training_have_not_drifted(model: LoadedModel) -> None:
    watch = DriftWatch()
    watch.add(model, rows())
    assert max(watch.update().values()) < 0.01
    assert watch.update().keys() == {*model.features}


def test_a_feature_that_moved_is_told_from_those_that_did_not(model: LoadedModel) -> None:
    watch = DriftWatch()
    moved = rows().copy()
    moved[:, 0] += 3
    for _ in range(10):
        watch.add(model, moved)
    found = watch.update()
    assert found["alcohol"] > 1
    assert max(value for name, value in found.items() if name != "alcohol") < 0.01


def test_a_few_rows_tell_nothing_about_drift(model: LoadedModel) -> None:
    watch = DriftWatch()
    assert watch.update() == {}
    watch.add(model, rows()[: MIN_ROWS - 1])
    assert watch.update() == {}
    watch.add(model, rows()[:1])
    assert watch.update() != {}


def test_old_rows_are_forgotten(model: LoadedModel) -> None:
    watch = DriftWatch()
    moved = rows().copy()
    moved[:, 0] += 3
    for _ in range(60):
        watch.add(model, moved)
    assert watch.update()["alcohol"] > 1
    for _ in range(30 * 60):
        watch.add(model, rows())
        found = watch.update()
    assert found["alcohol"] < 0.01
    assert watch.rows < 2 * WINDOW_ROWS


def test_what_is_remembered_of_requests_is_bounded(model: LoadedModel) -> None:
    watch = DriftWatch()
    many = np.tile(rows(), (60, 1))
    for _ in range(2000):
        watch.add(model, many)
    assert sum(kept.nbytes for _, kept in watch._recent) < 16 << 20
    assert all(kept.base is None for _, kept in watch._recent)


def test_another_model_is_another_beginning(model: LoadedModel) -> None:
    watch = DriftWatch()
    watch.add(model, rows())
    assert watch.update() != {}
    watch.add(LoadedModel("wine", model.predictor), rows()[:1])
    assert watch.update() == {}


def test_drift_is_reset_with_the_model(model: LoadedModel) -> None:
    """A new model resets the drift."""
    metrics = Metrics(DriftWatch())
    metrics.set_model(model, 1.0)
    metrics.count_success(model, rows())
    metrics.update_drift()
    assert b"wine_input_drift_psi{" in metrics.exposition()
    metrics.set_model(LoadedModel("wine", model.predictor), 2.0)
    metrics.update_drift()
    assert b"wine_input_drift_psi{" not in metrics.exposition()


def test_what_a_person_tries_on_the_page_is_no_input(own: ServerProcess) -> None:
    made_up = [row | {"alcohol": row["alcohol"] + 3} for row in named_rows()]
    assert own.post("/predict", made_up, X_Exploring="1").status == 200
    assert own.post("/predict", named_rows()).status == 200
    own.wait_for(lambda: bool(samples(own, "wine_input_drift_psi")))
    assert samples(own, "wine_input_drift_psi")["alcohol",] < 0.01
    assert own.metric("model_infer_request_success_total") == 1


def test_the_drift_of_what_is_served_is_told_to_prometheus(own: ServerProcess) -> None:
    body = [row | {"alcohol": row["alcohol"] + 3} for row in named_rows()]
    assert own.post("/predict", body).status == 200
    own.wait_for(lambda: bool(samples(own, "wine_input_drift_psi")))
    drift = samples(own, "wine_input_drift_psi")
    assert drift["alcohol",] > 1
    assert len(drift) == 13
