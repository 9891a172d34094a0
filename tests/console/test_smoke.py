from tests.console.conftest import *
def test_x(site, browser, anonymous):
    r = anonymous.get("/events"); assert r.status_code==303, r
    b = browser()
    r = b.get("/events"); assert r.status_code==200; print(r.text)
    r = b.get("/api/v1/events"); print(r.json(), r.headers)
    assert anonymous.get("/api/v1/events").status_code==401
    print(b.get("/api/v1/openapi.json").status_code)
