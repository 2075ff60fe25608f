/** The control plane as a gateway reaches it. */
import type { LeaseAnswer, LeaseGranter, LeaseQuestion } from 'tidegate'
import { post } from './http.ts'

const PATHS: Record<LeaseQuestion['type'], string> = {
  claim: '/gateway/config',
  confirm: '/gateway/ready',
  renew: '/gateway/renew',
  stop: '/gateway/stop',
}

/** Answers of these statuses are the control plane's word; any other one, and any error, means that nobody knows. */
const DEFINITE = [200, 403, 404, 409]

export function controlPlane(url: string, token: string): LeaseGranter {
  return {
    async ask(question, { signal }) {
      const { type, gateway, ...rest } = question
      const response = await post(`${url}${PATHS[type]}`, token, { gateway_id: gateway, ...rest }, signal)
      const text = await response.text()
      // A 404 of a proxy in between is no answer: the body has to say so, too.
      if (!DEFINITE.includes(response.status) || !/^\{"type":/.test(text)) {
        throw new Error(`the control plane answered ${response.status}: ${text.slice(0, 100)}`)
      }
      return JSON.parse(text) as LeaseAnswer
    },
  }
}
