// openai for Node: a recording in two formats, streamed, and the models.
// Arguments: address, recording, folder of node_modules. Prints an object for each call.
import { createReadStream } from 'node:fs'
import { createRequire } from 'node:module'

const [url, path, folder] = process.argv.slice(2)
const { OpenAI } = createRequire(`${folder}/`)('openai')
const client = new OpenAI({ apiKey: 'none', baseURL: `${url.replace('ws', 'http')}/v1` })
const tell = (call, value) => console.log(JSON.stringify({ call, value }))
const transcribe = (options) =>
  client.audio.transcriptions.create({
    file: createReadStream(path),
    model: 'whisper-1',
    ...options,
  })

tell('json', (await transcribe({})).text)
tell('srt', await transcribe({ response_format: 'srt' }))
const events = []
for await (const event of await transcribe({ stream: true })) events.push(event)
tell('stream', events)
const models = []
for await (const model of client.models.list()) models.push(model.id)
tell('models', models)
