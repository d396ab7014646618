import type { Commit } from './git.ts'

export type LoadCommit = (id: string) => Promise<Commit>

/** Every commit reachable from `from` that is not in `without`. */
async function reach(load: LoadCommit, from: string[], options: { without?: Map<string, Commit>; firstParent?: boolean } = {}) {
  const found = new Map<string, Commit>()
  const waiting = [...from]
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (found.has(id) || options.without?.has(id)) continue
    const commit = await load(id)
    found.set(id, commit)
    waiting.push(...followed(commit, options.firstParent))
  }
  return found
}

function followed(commit: Commit, firstParent: boolean | undefined): string[] {
  return firstParent ? commit.parents.slice(0, 1) : commit.parents
}

/** Puts a commit where its time says; of equal times the earlier arrival is taken first. `ready` is oldest first, taken from its end. */
function insertByTime(ready: Commit[], commit: Commit): void {
  let low = 0
  let high = ready.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ready[middle]!.committer.time < commit.committer.time) low = middle + 1
    else high = middle
  }
  ready.splice(low, 0, commit)
}

/** Commits reachable from `from` and not from `not`: no parent before its children, else newest first (`git log --date-order`). */
export async function walkHistory(
  load: LoadCommit,
  from: string[],
  options: { not?: string[]; limit?: number; firstParent?: boolean } = {},
): Promise<Commit[]> {
  const without = await reach(load, options.not ?? [])
  const found = await reach(load, from, { without, firstParent: options.firstParent })
  const children = new Map<string, number>()
  const parentsOf = (commit: Commit) => followed(commit, options.firstParent).filter((id) => found.has(id))
  for (const commit of found.values()) for (const id of parentsOf(commit)) children.set(id, (children.get(id) ?? 0) + 1)
  const ready: Commit[] = []
  for (const id of new Set(from)) {
    const commit = found.get(id)
    if (commit && !children.has(id)) insertByTime(ready, commit)
  }
  const order: Commit[] = []
  for (let commit = ready.pop(); commit && order.length < (options.limit ?? Infinity); commit = ready.pop()) {
    order.push(commit)
    for (const id of parentsOf(commit)) {
      const left = children.get(id)! - 1
      children.set(id, left)
      if (left === 0) insertByTime(ready, found.get(id)!)
    }
  }
  return order
}

/** The newest of the best common ancestors, or undefined when there is none. */
export async function findMergeBase(load: LoadCommit, a: string, b: string): Promise<string | undefined> {
  const ofA = await reach(load, [a])
  const common = [...(await reach(load, [b])).values()].filter((commit) => ofA.has(commit.id))
  // Common ancestors are closed under parents, so whatever is behind another one is the parent of one.
  const behind = new Set(common.flatMap((commit) => commit.parents))
  const best = common.filter((commit) => !behind.has(commit.id))
  return best.sort((x, y) => y.committer.time - x.committer.time)[0]?.id
}
