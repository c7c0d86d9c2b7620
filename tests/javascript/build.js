/**
 * @file Builds the files that pages load in production, beside the modules that they are made of.
 *
 * `make client` runs it. A folder as argument is where the files go instead.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";
import { minify } from "terser";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, "../..");
const STATIC = path.join(ROOT, "django_sse/static/django_sse");

const PARSER = "vendor/eventsource-parser";
/** What is built, and whose code is in it besides. */
const ENTRIES = {
  "event-source.js": [],
  "shared-connection.js": [],
  "fetch-source.js": [PARSER],
  "admin/dashboard.js": [],
};

const built = (/** @type {string} */ name) => name.replace(/\.js$/, ".min.js");

/** Each file is whole: it imports others only on demand, by the names that they have when built. */
const onDemand = {
  name: "on-demand",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\// }, (asked) =>
      asked.kind === "dynamic-import" ? { path: built(asked.path), external: true } : undefined,
    );
  },
};

/** The bytes depend on the versions of the tools: they are those of package.json, or it says so. */
async function checkVersions() {
  const { devDependencies } = await json(path.join(HERE, "package.json"));
  for (const name of ["esbuild", "terser"]) {
    const { version } = await json(path.join(HERE, "node_modules", name, "package.json"));
    if (version !== devDependencies[name]) {
      const wanted = `${name} ${version} is here, and not ${devDependencies[name]}`;
      throw new Error(`${wanted}: run npm install --prefix tests/javascript`);
    }
  }
}

async function json(file) {
  return JSON.parse(await readFile(file, "utf8"));
}

/** The comments that a file begins with: what it is, whose, and of which version. */
async function banner(others) {
  const project = await readFile(path.join(ROOT, "pyproject.toml"), "utf8");
  const [, name] = /^name = "(.+)"$/m.exec(project);
  const [, version] = /^version = "(.+)"$/m.exec(project);
  const [, licence] = /^license = "(.+)"$/m.exec(project);
  const lines = [`/*! ${name} ${version}, ${licence} */`];
  for (const other of others) {
    const [head] = (await readFile(path.join(STATIC, `${other}.js`), "utf8")).split("\n");
    const text = await readFile(path.join(STATIC, `${other}.LICENSE`), "utf8");
    const [copyright] = /^Copyright .+$/m.exec(text);
    lines.push(`/*! ${head.replace("// ", "").replace(/\.$/, "")}, ${copyright} */`);
  }
  return lines.join("\n");
}

/**
 * The text of what is built from *name*: esbuild makes one file of the modules, and a small one;
 * terser makes that smaller still, by one in forty.
 */
async function build(name, others) {
  const bundle = await esbuild.build({
    absWorkingDir: STATIC,
    entryPoints: [name],
    bundle: true,
    minify: true,
    format: "esm",
    legalComments: "none",
    plugins: [onDemand],
    write: false,
  });
  const { code } = await minify(bundle.outputFiles[0].text, {
    module: true,
    ecma: 2020, // The latest that it knows.
    compress: { passes: 2 },
    format: { preamble: await banner(others) },
  });
  return `${code}\n`;
}

await checkVersions();
const folder = process.argv[2] ?? STATIC;
for (const [name, others] of Object.entries(ENTRIES)) {
  const file = path.join(folder, built(name));
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, await build(name, others));
}
