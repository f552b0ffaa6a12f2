"""The AWS command line, loaded once: a request is a fork of this process that runs it with that request's words and environment.

A call of the plain program spends nine tenths of its CPU time on loading itself, and the suite makes hundreds.

argument          the socket to listen at; `ready` is printed when it does
standard input    held open by the suite: at its end this ends, too
request           one line of JSON: {"words": […], "environment": {…}}
answer            one line of JSON: {"code": 0, "out": LENGTH, "err": LENGTH}, then both outputs
"""

import json
import os
import socketserver
import sys
import tempfile
import threading

import awscli.clidriver
import awscli.customizations.s3.subcommands
import botocore.auth
import botocore.httpsession
import botocore.signers

driver = awscli.clidriver.create_clidriver()
loader = driver.session.get_component("data_loader")
for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
    loader.load_service_model("s3", kind)
for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
    loader.load_data(name)


class Request(socketserver.StreamRequestHandler):
    def handle(self):
        request = json.loads(self.rfile.readline())
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(request["environment"])
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            try:
                code = driver.main(request["words"])
            except SystemExit as end:
                code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            outputs = []
            for output in (out, err):
                output.seek(0)
                outputs.append(output.read())
        answer = {"code": code or 0, "out": len(outputs[0]), "err": len(outputs[1])}
        self.wfile.write(json.dumps(answer).encode() + b"\n" + b"".join(outputs))


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 64
    request_queue_size = 64


def end_with_the_suite():
    sys.stdin.buffer.read()
    os.unlink(sys.argv[1])
    os._exit(0)


with Server(sys.argv[1], Request) as server:
    threading.Thread(target=end_with_the_suite, daemon=True).start()
    print("ready", flush=True)
    server.serve_forever()
