"""Users of a chat app, for Azure Load Testing (or `locust -f locustfile.py`): they ask, read the answer, think, ask again.

Environment: LOAD_BALANCER_URL (the CONTAINER_APP_URL), CLIENT_KEY where the load balancer asks for one, DEPLOYMENT.
"""
import os

from locust import HttpUser, between, task

KEY = os.environ.get("CLIENT_KEY", "none")
PATH = f"/openai/deployments/{os.environ.get('DEPLOYMENT', 'chat')}/chat/completions?api-version=2024-10-21"
QUESTION = {"messages": [{"role": "user", "content": "Which plan pays for an eye test?"}], "max_tokens": 200}


class ChatUser(HttpUser):
    host = os.environ.get("LOAD_BALANCER_URL")
    wait_time = between(2, 8)

    @task(3)
    def chat(self):
        self.ask("chat", QUESTION)

    @task(1)
    def streamed_chat(self):
        self.ask("streamed chat", QUESTION | {"stream": True})

    def ask(self, name, body):
        with self.client.post(PATH, json=body, headers={"api-key": KEY}, name=name, catch_response=True) as answer:
            if answer.status_code == 200 and (not body.get("stream") or b"data: [DONE]" in answer.content):
                answer.success()
            else:
                answer.failure(f"{answer.status_code} {answer.headers.get('x-aoai-lb-attempts', '')}")
