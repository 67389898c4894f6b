import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Project } from "local-platform/project/project";

/** The folder that holds package.json and supabase/. */
export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** This repository as the local platform sees it. */
export const project: Project = { root: projectRoot, name: "tokenbook" };
