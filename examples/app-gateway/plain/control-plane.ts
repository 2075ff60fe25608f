/** A control plane as people write it by hand: a stop ends the allocation, and there is no more to it. */
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { report } from '../../relay/report.ts'
import { answer, bodyOf, post } from '../http.ts'

const { values } = parseArgs({
  options: { port: { type: 'string', default: '8000' }, gateways: { type: 'string', default: '' } },
})
const gateways = new Map(values.gateways.split(',').map((entry) => entry.split('=') as [string, string]))
const allocated = new Map<string, string>()

createServer(async (request, response) => {
  const { organization_id: organization, gateway_id: gateway } = await bodyOf(request)
  const id = String(gateway)
  if (request.url === '/gateway/start') {
    const free = [...gateways.keys()].find((known) => !allocated.has(known))
    const known = [...allocated].find(([, owner]) => owner === organization)?.[0] ?? free
    if (known === undefined) return answer(response, 503, { error: 'no gateway is free' })
    allocated.set(known, String(organization))
    await post(`${gateways.get(known)}/collab/start`, 'control-plane', { organization_id: organization })
    return answer(response, 200, { gateway_hostname: `${known}.gateways.example`, gateway_id: known })
  }
  const owner = allocated.get(id)
  if (request.url === '/gateway/stop') allocated.delete(id)
  answer(response, owner === undefined ? 404 : 200, { organization_id: owner })
}).listen(Number(values.port), '127.0.0.1', () => report('listening', {}))
process.on('SIGTERM', () => process.exit())
