import type { Commit } from './git.ts'

function parsePerson(line: string | undefined): Commit['author'] {
  const found = /^(.*?) ?<([^>]*)> (-?\d+)/.exec(line ?? '')
  return { name: found?.[1] ?? '', email: found?.[2] ?? '', time: Number(found?.[3] ?? 0) * 1000 }
}

/** The first paragraph on one line, as git shows it. */
function subjectOf(message: string): string {
  const paragraph = message.replace(/^(\s*\n)+/, '').split(/\n\s*\n/, 1)[0]!
  return paragraph
    .split('\n')
    .map((line) => line.trimEnd())
    .join(' ')
    .trim()
}

function decode(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes)
  const encoding = /^encoding (\S+)$/m.exec(text.slice(0, text.indexOf('\n\n')))?.[1]
  if (encoding === undefined) return text
  try {
    return new TextDecoder(encoding).decode(bytes)
  } catch {
    // An encoding no one knows: git shows such messages as they are, too.
    return text
  }
}

/** Parses a commit as git stores it; `grafted` gives it no parents, as where a shallow clone ends. */
export function parseCommit(id: string, bytes: Uint8Array, grafted = false): Commit {
  const text = decode(bytes)
  const end = text.indexOf('\n\n')
  const head = (end < 0 ? text : text.slice(0, end)).split('\n')
  const value = (key: string) => head.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1)
  const parents = head.filter((line) => line.startsWith('parent ')).map((line) => line.slice(7))
  return {
    id,
    parents: grafted ? [] : parents,
    author: parsePerson(value('author')),
    committer: parsePerson(value('committer')),
    subject: end < 0 ? '' : subjectOf(text.slice(end + 2)),
  }
}
