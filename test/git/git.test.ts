import { openBinaryGit } from '../../src/git/binary.ts'
import { findGitProgram } from '../../src/git/git-process.ts'
import { openIsomorphicGit } from '../../src/git/isomorphic.ts'
import { describeGit } from './contract.ts'

describeGit('the git program', async (place, env) => openBinaryGit(findGitProgram(env)!, place, env))
describeGit('isomorphic-git', openIsomorphicGit)
