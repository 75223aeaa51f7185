from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="your-secret-key")

stream = client.chat.completions.create(
    model="sonnet",
    messages=[{"role": "user", "content": "Hello!"}],
    stream=True,
)
for chunk in stream:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
