// Draws one sample after the other.

import { Chart } from "./chart.js";

document.addEventListener("sample", ({ detail }) => showSample(detail));

const get = (id) => document.getElementById(id);
const charts = {
  cpu: new Chart(get("cpu-chart"), ["cpu"], 100),
  memory: new Chart(get("memory-chart"), ["memory"], 1),
  load: new Chart(get("load-chart"), ["load"]),
  network: new Chart(get("network-chart"), ["received", "sent"]),
};

// 1536 is ["1.5", "KB"].
function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), units.length - 1);
  const value = number / 1024 ** power;
  return [value.toFixed(power > 0 && value < 100 ? 1 : 0), units[power]];
}

function showCores(cores) {
  const parent = get("cores");
  while (parent.children.length < cores.length) {
    const core = document.createElement("div");
    core.setAttribute("role", "meter");
    core.setAttribute("aria-label", `Core ${parent.children.length + 1}`);
    core.append(document.createElement("span"), document.createElement("i"));
    parent.append(core);
  }
  cores.forEach((percent, index) => {
    const core = parent.children[index];
    core.setAttribute("aria-valuenow", percent);
    core.firstChild.textContent = `Core ${index + 1} · ${Math.round(percent)} %`;
    core.lastChild.style.setProperty("--part", percent / 100);
  });
}

function showSample({ cores, memory, load, network, server, watchers }) {
  const busy = cores.reduce((sum, percent) => sum + percent, 0) / cores.length;
  get("cpu").textContent = busy.toFixed(0);
  charts.cpu.push(busy);
  showCores(cores);

  [get("memory").textContent, get("memory-unit").textContent] = bytes(memory.used);
  get("memory-total").textContent = bytes(memory.total).join(" ");
  charts.memory.push(memory.used / memory.total);

  get("load").textContent = load[0].toFixed(2);
  get("load-5").textContent = load[1].toFixed(2);
  get("load-15").textContent = load[2].toFixed(2);
  charts.load.push(load[0]);

  if (network) {
    [get("received").textContent, get("received-unit").textContent] = bytes(network.received);
    get("received-unit").textContent += "/s";
    get("sent").textContent = `${bytes(network.sent).join(" ")}/s`;
    charts.network.push(network.received, network.sent);
  }

  get("watchers").textContent = watchers;
  get("watchers-label").textContent = watchers === 1 ? "page watching" : "pages watching";
  get("threads").textContent = server.threads;
  get("server-memory").textContent = bytes(server.memory).join(" ");
}
