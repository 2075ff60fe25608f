/** A gateway as people write it by hand: on a signal it tells the control plane that it stops, and exits. */
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { report } from '../../relay/report.ts'
import { answer, bodyOf, post } from '../http.ts'

const { values } = parseArgs({
  options: {
    id: { type: 'string', default: 'g1' },
    port: { type: 'string', default: '8001' },
    'control-plane': { type: 'string', default: 'http://127.0.0.1:8000' },
  },
})
let organization: unknown
const call = (path: string) =>
  post(`${values['control-plane']}${path}`, `secret-of-${values.id}`, { gateway_id: values.id })
const serve = (owner: unknown) => {
  organization = owner
  report('serving', { gateway: values.id, organization })
}
const stop = async () => {
  await call('/gateway/stop').catch(() => {})
  process.exit()
}

createServer(async (request, response) => {
  if (request.url === '/collab/start') serve((await bodyOf(request)).organization_id)
  if (request.url === '/control/stop') void stop()
  answer(response, organization === undefined ? 503 : 200, { gateway: values.id, organization })
}).listen(Number(values.port), '127.0.0.1', async () => {
  report('booted', { gateway: values.id })
  const config = await call('/gateway/config').catch(() => undefined)
  if (config?.status === 200) serve(((await config.json()) as { organization_id: string }).organization_id)
  else report('idle', { gateway: values.id })
})
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
