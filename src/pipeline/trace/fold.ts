import { compareUtf8, type RepoPath } from '../../base/paths.ts'

/** From this many files of a folder on, three quarters of them stand for the folder. */
const MANY = 4

export interface FoldRule {
  /** whether the folder may stand for what lies in it */
  allows(folder: RepoPath): boolean
  /** whether its files belong together, however few: the command listed, or made, the folder */
  joined(folder: RepoPath): boolean
  /** how many files it has; what is above `most` need not be counted */
  count(folder: RepoPath, most: number): number
}

interface Folder {
  path: string
  files: number
  own: RepoPath[]
  below: Map<string, Folder>
}

function newFolder(path: string): Folder {
  return { path, files: 0, own: [], below: new Map() }
}

/** Lets a folder stand for its files where they are two and more, all that it has and belong together, or where they are many and most of what it has. */
export function foldPaths(paths: Iterable<RepoPath>, rule: FoldRule): RepoPath[] {
  const top = newFolder('')
  for (const path of paths) {
    let folder = top
    for (let cut = path.indexOf('/'); cut >= 0; cut = path.indexOf('/', cut + 1)) {
      const at = path.slice(0, cut)
      let next = folder.below.get(at)
      if (!next) {
        next = newFolder(at)
        folder.below.set(at, next)
      }
      folder = next
      folder.files++
    }
    folder.own.push(path)
  }
  const found: RepoPath[] = []
  const stands = ({ path, files }: Folder): boolean => {
    const folder = path as RepoPath
    if (path === '' || files < 2 || (files < MANY && !rule.joined(folder))) return false
    const most = Math.floor((files * 4) / 3)
    const count = rule.count(folder, most)
    return count <= (files >= MANY ? most : files) && rule.allows(folder)
  }
  const visit = (folder: Folder) => {
    if (stands(folder)) {
      found.push(folder.path as RepoPath)
      return
    }
    for (const path of folder.own) found.push(path)
    for (const below of folder.below.values()) visit(below)
  }
  visit(top)
  return found.sort(compareUtf8)
}
