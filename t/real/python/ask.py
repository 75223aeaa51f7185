"""What t/real/python.test.mjs has done with openai from PyPI.

Each line of standard input is {"name", "arguments"}: one of the functions
below is called, and what it returns is printed as a line, {"result"} or
{"failed"} with what was raised. Address and key are in the environment, where
the SDK looks for them by itself.
"""

import asyncio
import json
import sys
import traceback

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

MODEL = "sonnet"


class Person(BaseModel):
    name: str
    age: int


def user(text):
    return [{"role": "user", "content": text}]


def version():
    return openai.__version__


def whole(text):
    raw = OpenAI().chat.completions.with_raw_response.create(
        model=MODEL, messages=user(text)
    )
    answer = raw.parse()
    return {
        "answer": answer.model_dump(),
        "request": answer._request_id,
        "session": raw.headers.get("x-session-id"),
    }


def models():
    client = OpenAI()
    listed = [model.id for model in client.models.list()]
    return {"listed": listed, "one": client.models.retrieve("gpt-4o").id}


def streamed(text):
    chunks = OpenAI().chat.completions.create(
        model=MODEL,
        messages=user(text),
        stream=True,
        stream_options={"include_usage": True},
    )
    return [chunk.model_dump() for chunk in chunks]


def helper(text):
    """The events of the helper, and what it gathers."""
    with OpenAI().chat.completions.stream(model=MODEL, messages=user(text)) as stream:
        events = [event.type for event in stream]
        return {"events": events, "final": stream.get_final_completion().model_dump()}


def conversation(texts):
    client = OpenAI()
    messages = []
    for text in texts:
        messages += user(text)
        answer = client.chat.completions.create(model=MODEL, messages=messages)
        messages.append(answer.choices[0].message)
    return [m["content"] if isinstance(m, dict) else m.content for m in messages]


def tools(text, stream):
    """One tool, called until the model has done with it."""
    client = OpenAI()
    weather = openai.pydantic_function_tool(
        Person, name="look_up", description="Looks somebody up."
    )
    messages = user(text)
    asked = []

    while True:
        if stream:
            with client.chat.completions.stream(
                model=MODEL, messages=messages, tools=[weather]
            ) as events:
                for _ in events:
                    pass
                choice = events.get_final_completion().choices[0]
        else:
            choice = client.chat.completions.parse(
                model=MODEL, messages=messages, tools=[weather]
            ).choices[0]

        messages.append(choice.message)
        if choice.finish_reason != "tool_calls":
            return {"asked": asked, "text": choice.message.content}

        for call in choice.message.tool_calls:
            person = call.function.parsed_arguments
            asked.append([call.id, person.name, person.age])
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": f"{person.name} is known",
                }
            )


def parse(text):
    answer = OpenAI().chat.completions.parse(
        model=MODEL, messages=user(text), response_format=Person
    )
    return answer.choices[0].message.parsed.model_dump()


def choices(text, n):
    answer = OpenAI().chat.completions.create(model=MODEL, messages=user(text), n=n)
    return {
        "texts": [choice.message.content for choice in answer.choices],
        "indices": [choice.index for choice in answer.choices],
        "usage": answer.usage.model_dump(),
    }


def completions(prompt):
    answer = OpenAI().completions.create(model=MODEL, prompt=prompt)
    return answer.choices[0].text


def error(body, key=None, retries=0):
    """The error that comes, and how often it was asked for."""
    client = OpenAI(max_retries=retries, **({"api_key": key} if key else {}))
    attempts = []
    send = client._client.send

    def counted(*args, **kwargs):
        attempts.append(1)
        return send(*args, **kwargs)

    client._client.send = counted
    try:
        body = {"model": MODEL, "messages": user("question"), **body}
        answer = client.chat.completions.create(**body)
        if body.get("stream"):
            text = ""
            for chunk in answer:
                text += chunk.choices[0].delta.content or ""
        return {"type": None}
    except openai.APIError as e:
        return {
            "type": type(e).__name__,
            "status": getattr(e, "status_code", None),
            "code": e.code,
            "param": e.param,
            "attempts": len(attempts),
        }


def together(texts):
    async def ask(client, i, text):
        if i % 2:
            answer = await client.chat.completions.create(
                model=MODEL, messages=user(text)
            )
            return answer.choices[0].message.content
        pieces = []
        async for chunk in await client.chat.completions.create(
            model=MODEL, messages=user(text), stream=True
        ):
            pieces.append(chunk.choices[0].delta.content or "")
        return "".join(pieces)

    async def all_of_them():
        async with AsyncOpenAI() as client:
            return await asyncio.gather(
                *(ask(client, i, text) for i, text in enumerate(texts))
            )

    return asyncio.run(all_of_them())


def leave(text):
    """Goes away after the first piece."""
    with OpenAI().chat.completions.create(
        model=MODEL, messages=user(text), stream=True
    ) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    return "left"


def cancel(text):
    """The same of a task that is cancelled when a line comes."""

    async def cancelled():
        async with AsyncOpenAI() as client:
            task = asyncio.create_task(
                client.chat.completions.create(model=MODEL, messages=user(text))
            )
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "left"

    return asyncio.run(cancelled())


def timeout(text, seconds):
    try:
        OpenAI(timeout=seconds, max_retries=0).chat.completions.create(
            model=MODEL, messages=user(text)
        )
    except openai.APITimeoutError:
        return "timeout"


if __name__ == "__main__":
    while line := sys.stdin.readline():
        asked = json.loads(line)
        try:
            said = {"result": globals()[asked["name"]](**asked["arguments"])}
        except Exception:
            said = {"failed": traceback.format_exc()}
        print(json.dumps(said), flush=True)
