import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MlvError } from '../base/errors.ts'

/** Where another repository lies: a folder of this machine, or what git fetches from. */
export type RepositoryPlace =
  | { kind: 'folder'; folder: string }
  | { kind: 'url'; url: string /** of a file:// url */; folder?: string }

/** What git may fetch by. Its `ext::` and other helpers run commands that their address names. */
export const FETCH_PROTOCOLS = ['file', 'git', 'http', 'https', 'ssh']

function invalid(text: string, why: string): MlvError {
  return new MlvError('PATH_INVALID', `"${text.slice(0, 200)}" is no repository that mlv reads: ${why}`, {
    hint: 'Give a folder, or a url such as https://host/team/data.git or git@host:team/data.git.',
  })
}

function refuseSecrets(url: URL): void {
  const isOpen = url.protocol === 'ssh:' ? url.password === '' : url.username === '' && url.password === ''
  if (isOpen) return
  throw new MlvError('SECRET_REFUSED', `The url of the repository on ${url.host} holds a user or password`, {
    hint: 'Take them out; git asks its credential helper, see "git help credentials".',
  })
}

function parseUrl(text: string): RepositoryPlace {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const protocol = url?.protocol.slice(0, -1) ?? ''
  if (!url || !FETCH_PROTOCOLS.includes(protocol))
    throw invalid(text.replace(/\/\/[^/@]*@/, '//…@'), 'git fetches by https, http, ssh, git and file')
  refuseSecrets(url)
  if (url.hostname.startsWith('-') || url.username.startsWith('-')) throw invalid(text, 'its host could be read as an option')
  if (protocol !== 'file') return { kind: 'url', url: text }
  if (url.hostname !== '') throw invalid(text, 'a file url names no host')
  return { kind: 'url', url: text, folder: fileURLToPath(url) }
}

/** `git@host:path`, as git and ssh write it; a slash before the colon makes it a folder. */
const SCP = /^(?:[A-Za-z0-9_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9a-fA-F:.]+\]):(?!:)(.+)$/

/** Whether a text can only be a url, not a folder. */
export function isRepositoryUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) || SCP.test(text) || /^[^/]*::/.test(text)
}

/** Parses what a user or a pointer calls another repository. What could make git run a command is refused.
 *  @param from absolute; relative folders start there   @throws PATH_INVALID, SECRET_REFUSED (the message does not repeat the secret) */
export function parseRepository(text: string, from: string): RepositoryPlace {
  if (text.trim() === '') throw invalid(text, 'it is empty')
  if (text.startsWith('-')) throw invalid(text, 'it could be read as an option')
  if (/[\0-\x1f\x7f]/.test(text)) throw invalid(JSON.stringify(text), 'it has control characters')
  if (/^[^/]*::/.test(text)) throw invalid(text, 'remote helpers of git run commands')
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return parseUrl(text)
  if (SCP.test(text) && !/^[A-Za-z]:[\\/]/.test(text)) return { kind: 'url', url: text }
  return { kind: 'folder', folder: resolve(from, text) }
}
