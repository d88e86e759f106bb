"use strict";
// The page of `teamscall report`: draws what the page holds as data. Texts go in as text, never
// as HTML; nothing is fetched.
(() => {
  const RATE = 16000;
  const EDGE = 7; // pixels beside the call, for what lies on its first and last moment
  const MIN_SPAN = 0.2; // seconds in view at the deepest zoom
  const STEPS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];
  // The lanes from the top down: name, top, height, label.
  const LANES = {
    events: [0, 20, "events"], caller: [24, 76, "caller"], heard: [104, 18, "heard"],
    partials: [125, 14, "partials"], axis: [143, 24, ""], bot: [170, 76, "bot"],
    said: [250, 18, "said"], cut: [271, 14, "not heard"], turns: [291, 22, "turns"],
    recording: [321, 8, "recording"], frames: [335, 10, "frames"],
  };
  const HEIGHT = 349;
  const $ = (root, selector) => root.querySelector(selector);
  const $$ = (root, selector) => [...root.querySelectorAll(selector)];
  const limit = (value, low, high) => Math.min(Math.max(value, low), high);
  const tip = document.getElementById("tip");
  const calls = [];

  function bytes(text) {
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  function clock(seconds, step = 0.1) {
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    const sign = seconds < 0 ? "−" : "";
    const all = Number(Math.abs(seconds).toFixed(digits));
    if (all < 60 && step < 60) return `${sign}${all.toFixed(digits)} s`;
    const whole = Math.floor(all);
    const rest = digits ? (all - whole).toFixed(digits).slice(1) : "";
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor((whole % 3600) / 60);
    return `${sign}${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}${rest}`;
  }

  // --- sound: mu-law WAV, made of the page's pieces when it is first played ------------------

  class Sound {
    constructor(article, length) {
      this.article = article;
      this.samples = Math.ceil(length * RATE);
      this.audio = new Audio();
      this.side = null;
    }

    plane(who) {
      const out = new Uint8Array(this.samples).fill(0xff); // mu-law's zero
      const script = $(this.article, `script.sound-${who}`);
      for (const [at, text] of script ? JSON.parse(script.textContent) : []) {
        const piece = bytes(text);
        if (at < out.length) out.set(piece.subarray(0, out.length - at), at);
      }
      return out;
    }

    load(side) {
      if (this.side === side) return;
      const planes = (side === "both" ? ["caller", "bot"] : [side]).map((who) => this.plane(who));
      let data = planes[0];
      if (planes.length === 2) {
        data = new Uint8Array(2 * this.samples);
        for (let i = 0; i < this.samples; i++) {
          data[2 * i] = planes[0][i];
          data[2 * i + 1] = planes[1][i];
        }
      }
      const at = this.audio.currentTime;
      if (this.audio.src) URL.revokeObjectURL(this.audio.src);
      const head = wavHead(planes.length, this.samples);
      this.audio.src = URL.createObjectURL(new Blob([head, data], { type: "audio/wav" }));
      this.audio.currentTime = at;
      this.side = side;
    }
  }

  function wavHead(channels, samples) {
    const head = new DataView(new ArrayBuffer(58));
    const word = (at, text) => [...text].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
    const size = channels * samples;
    word(0, "RIFF");
    head.setUint32(4, 50 + size, true);
    word(8, "WAVEfmt ");
    head.setUint32(16, 18, true);
    head.setUint16(20, 7, true); // mu-law
    head.setUint16(22, channels, true);
    head.setUint32(24, RATE, true);
    head.setUint32(28, RATE * channels, true);
    head.setUint16(32, channels, true);
    head.setUint16(34, 8, true);
    head.setUint16(36, 0, true);
    word(38, "fact");
    head.setUint32(42, 4, true);
    head.setUint32(46, samples, true);
    word(50, "data");
    head.setUint32(54, size, true);
    return head;
  }

  // --- one call -------------------------------------------------------------------------------

  class Call {
    constructor(article) {
      this.article = article;
      this.data = JSON.parse($(article, "script.data").textContent);
      this.length = this.data.length;
      this.extent = this.length; // what "fit" shows: longer where calls share a scale
      this.tracks = {};
      for (const [who, track] of Object.entries(this.data.tracks)) {
        this.tracks[who] = {
          bucket: track.bucketMs / 1000, peaks: bytes(track.peaks), powers: bytes(track.powers),
        };
      }
      this.items = this.data.items.map((item, index) => ({
        lane: item[0], kind: item[1], start: item[2], end: item[3], label: item[4], told: item[5],
        index, room: Infinity,
      }));
      this.giveRoom();
      this.sound = new Sound(article, this.length);
      this.stage = $(article, ".stage");
      this.plot = $(article, ".plot");
      this.canvas = $(article, ".waves");
      this.overview = $(article, ".overview");
      this.layer = $(article, ".items");
      this.cursor = $(article, ".cursor");
      this.start = 0;
      this.span = this.extent;
      this.now = 0;
      this.rows = $$(article, ".lines li, .log li");
      this.told = $$(article, ".lines li").map((row) => ({
        row, start: Number(row.dataset.at), end: Number(row.dataset.end),
      }));
      this.hits = [];
      this.hit = -1;
      this.stage.style.height = `${HEIGHT}px`;
      this.name();
      this.listen();
      new ResizeObserver(() => this.size()).observe(this.stage);
      this.size();
    }

    // A label may run on until the next one of its lane.
    giveRoom() {
      const last = {};
      for (const item of [...this.items].sort((a, b) => b.start - a.start)) {
        if (!item.label) continue;
        item.room = last[item.lane] ?? this.length;
        last[item.lane] = item.start;
      }
    }

    name() {
      this.names = Object.entries(LANES).filter(([, lane]) => lane[2]).map(([key, lane]) => {
        const span = document.createElement("span");
        span.textContent = lane[2];
        if (key === "caller" || key === "bot") span.className = key;
        span.style.top = `${lane[0] + Math.min(lane[1], 76) / 2 - 9}px`;
        $(this.article, ".names").append(span);
        return span;
      });
    }

    size() {
      const width = this.stage.clientWidth;
      if (!width) return;
      this.gutter = width >= 640 ? 76 : 0;
      for (const span of this.names) span.hidden = !this.gutter;
      this.plot.style.left = `${this.gutter}px`;
      this.width = width - this.gutter;
      const ratio = window.devicePixelRatio || 1;
      for (const canvas of [this.canvas, this.overview]) {
        canvas.width = Math.round(canvas.clientWidth * ratio);
        canvas.height = Math.round(canvas.clientHeight * ratio);
      }
      this.draw();
    }

    x(at) { return EDGE + ((at - this.start) / this.span) * (this.width - 2 * EDGE); }

    at(clientX) {
      const left = this.plot.getBoundingClientRect().left;
      return this.start + ((clientX - left - EDGE) / (this.width - 2 * EDGE)) * this.span;
    }

    // --- view -----------------------------------------------------------------------------

    look(start, span) {
      this.span = limit(span, Math.min(MIN_SPAN, this.extent), this.extent);
      this.start = limit(start, 0, this.extent - this.span);
      this.draw();
    }

    zoom(factor, around = this.inView(this.now) ? this.now : this.start + this.span / 2) {
      const span = limit(this.span * factor, Math.min(MIN_SPAN, this.extent), this.extent);
      const share = (around - this.start) / this.span;
      this.look(around - share * span, span);
    }

    fit() { this.look(0, this.extent); }

    inView(at) { return at >= this.start && at <= this.start + this.span; }

    scale(extent) {
      this.extent = extent;
      this.fit();
    }

    draw() {
      if (this.pending) return;
      this.pending = requestAnimationFrame(() => {
        this.pending = 0;
        if (!this.width) return;
        this.stage.dataset.span = this.span.toFixed(3); // seconds in view
        this.waves();
        this.place();
        this.small();
        this.point();
      });
    }

    ink(name) { return getComputedStyle(this.article).getPropertyValue(name).trim(); }

    waves() {
      const pen = this.canvas.getContext("2d");
      const ratio = this.canvas.width / this.canvas.clientWidth;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, this.canvas.clientWidth, HEIGHT);
      pen.translate(this.gutter, 0);
      pen.save();
      pen.beginPath();
      pen.rect(0, 0, this.width, HEIGHT);
      pen.clip();
      this.grid(pen);
      this.shut(pen);
      for (const who of ["caller", "bot"]) {
        const [top, height] = LANES[who];
        pen.fillStyle = this.ink("--line");
        const [left, right] = [Math.max(EDGE, this.x(0)), Math.min(this.width - EDGE, this.x(this.length))];
        pen.fillRect(left, top + height / 2 - 0.5, right - left, 1);
        const track = this.tracks[who];
        if (track) {
          this.wave(pen, track.peaks, track.bucket, top, height, this.ink(`--${who}-peak`));
          this.wave(pen, track.powers, track.bucket, top, height, this.ink(`--${who}-power`));
        }
      }
      pen.fillStyle = this.ink("--bot-peak");
      const [top, height] = LANES.bot;
      for (const [start, end] of this.data.spoken) {
        pen.fillRect(this.x(start), top + height / 2 - 12, Math.max(1, this.x(end) - this.x(start)), 24);
      }
      pen.restore();
    }

    grid(pen) {
      const least = this.width < 500 ? 60 : 84;
      const step = STEPS.find((one) => (one / this.span) * this.width >= least) ?? STEPS.at(-1);
      const [top] = LANES.axis;
      const ink = this.ink("--dim");
      const faint = this.ink("--grid");
      pen.font = `11px ${this.ink("--mono")}`;
      pen.textBaseline = "middle";
      pen.fillStyle = ink;
      pen.fillRect(EDGE, top + 2, this.width - 2 * EDGE, 1);
      for (let n = Math.ceil(this.start / step - 1e-9); n * step <= this.start + this.span; n++) {
        const x = Math.round(this.x(n * step));
        pen.fillStyle = faint;
        for (const who of ["caller", "bot"]) pen.fillRect(x, LANES[who][0], 1, LANES[who][1]);
        pen.fillStyle = ink;
        pen.fillRect(x, top + 2, 1, 5);
        const label = clock(n * step, step);
        if (x + pen.measureText(label).width + 4 <= this.width) pen.fillText(label, x + 4, top + 14);
      }
    }

    shut(pen) {
      const top = LANES.caller[0];
      const bottom = LANES.cut[0] + LANES.cut[1];
      pen.strokeStyle = this.ink("--shut");
      for (const [start, end, open] of this.data.gates) {
        const left = Math.max(0, this.x(start));
        const right = Math.min(this.width, this.x(end));
        if (open || right <= left) continue;
        pen.save();
        pen.beginPath();
        pen.rect(left, top, right - left, bottom - top);
        pen.clip();
        pen.globalAlpha = 0.45;
        pen.beginPath();
        const tall = bottom - top;
        // From the call's own beginning, so that the lines move with it.
        const first = this.x(start) + Math.floor((left - this.x(start) - tall) / 9) * 9;
        for (let x = first; x < right; x += 9) {
          pen.moveTo(x, bottom);
          pen.lineTo(x + tall, top);
        }
        pen.stroke();
        pen.restore();
      }
    }

    wave(pen, values, bucket, top, height, ink) {
      const middle = top + height / 2;
      const perPixel = this.span / (this.width - 2 * EDGE) / bucket; // buckets
      const high = (value) => (value / 255) * (height / 2);
      pen.fillStyle = ink;
      if (perPixel >= 1) {
        const end = Math.min(this.width, this.x(this.length));
        const fine = 0.5; // of a pixel: screens are finer
        for (let x = 0; x < end; x += fine) {
          const from = Math.floor(this.start / bucket + (x - EDGE) * perPixel);
          const to = Math.max(from + 1, Math.floor(this.start / bucket + (x - EDGE + fine) * perPixel));
          if (to <= 0) continue;
          let most = 0;
          for (let i = Math.max(0, from); i < to && i < values.length; i++) if (values[i] > most) most = values[i];
          if (most) pen.fillRect(x, middle - high(most), fine, 2 * high(most));
        }
        return;
      }
      const from = Math.max(0, Math.floor(this.start / bucket) - 1);
      const to = Math.min(values.length, Math.ceil((this.start + this.span) / bucket) + 2);
      pen.beginPath();
      for (let i = from; i < to; i++) pen.lineTo(this.x((i + 0.5) * bucket), middle - high(values[i]));
      for (let i = to - 1; i >= from; i--) pen.lineTo(this.x((i + 0.5) * bucket), middle + high(values[i]));
      pen.fill();
    }

    // --- what lies on the lanes -----------------------------------------------------------

    place() {
      const made = [];
      let free = -Infinity;
      let before = -Infinity;
      const crowded = this.items.filter((item) => item.lane === "events"
        && item.start >= this.start && item.start <= this.start + this.span).length > this.width / 20;
      for (const item of this.items) {
        const left = this.x(item.start);
        const right = this.x(item.end);
        if (item.lane === "events") {
          if (left < -200 || left > this.width + 5) continue;
          const wide = item.label.length * 6.6 + 14;
          if (left - before < 1.5) continue;
          // Neither over the sign of the next one, nor at the end over the one before.
          const flipped = left + wide > this.width;
          const named = flipped ? left - wide >= Math.max(free, before + 8)
            : left >= free && (item.room >= this.length || this.x(item.room) - left >= wide);
          if (named) free = left + wide;
          before = left;
          made.push(this.event(item, left, named, wide, crowded));
        } else if (Math.max(right, this.x(Math.min(item.room, item.end + this.span))) >= 0
          && left <= this.width && (right - left > 0.15 || item.label || item.end <= item.start
            || item.lane === "frames")) {
          if (item.kind === "measured" && right - left < 3) continue;
          if (item.lane === "partials" && right - left < 4 && this.span > 60) continue;
          made.push(this.box(item, left, right));
        }
      }
      this.layer.replaceChildren(...made);
    }

    event(item, left, named, wide, crowded) {
      const node = document.createElement("div");
      node.className = `ev ${item.kind}${crowded ? " crowded" : ""}`;
      node.dataset.item = item.index;
      // Wide enough to be met with a pointer.
      node.style.left = `${left}px`;
      node.style.width = "7px";
      node.style.height = "16px";
      const line = document.createElement("i");
      line.style.height = `${LANES.said[0] - 14}px`;
      node.append(line);
      if (named) {
        const span = document.createElement("span");
        span.textContent = item.label;
        if (left + wide > this.width) {
          span.style.position = "absolute";
          span.style.right = "14px";
        }
        node.append(span);
      }
      return node;
    }

    box(item, left, right) {
      const [top, height] = LANES[item.lane];
      const node = document.createElement("div");
      const thin = right - left < 6 && (item.lane === "heard" || item.lane === "said");
      node.className = `it ${item.kind}${item.found ? " hit" : ""}${thin ? " thin" : ""}`;
      node.dataset.item = item.index;
      let [y, tall, least] = [top, height, 2];
      if (item.kind.startsWith("stage-")) [y, tall, least] = [top + 3, 11, 0.5];
      else if (item.kind === "measured") [y, tall, least] = [top + 16, 5, 1];
      else if (item.kind === "turn") tall = 18;
      else if (item.kind === "stop") [y, tall, least] = [top - 3, 24, 3];
      // A browser has no use for a box of a million pixels.
      const from = Math.max(left, -20);
      const to = Math.min(right, this.width + 20);
      node.style.left = `${from}px`;
      node.style.top = `${y}px`;
      node.style.width = `${Math.max(least, to - from)}px`;
      node.style.height = `${tall}px`;
      if (item.label && item.lane !== "recording") {
        const begin = Math.max(0, -from);
        const end = item.kind === "turn" ? to : Math.min(this.x(item.room), this.width);
        const room = end - from - begin - 3;
        if (room >= 22) {
          const span = document.createElement("span");
          span.textContent = item.label;
          span.style.left = `${begin}px`;
          span.style.maxWidth = `${room}px`;
          node.append(span);
        }
      }
      return node;
    }

    small() {
      const pen = this.overview.getContext("2d");
      const ratio = this.overview.width / this.overview.clientWidth;
      const [width, height] = [this.overview.clientWidth, this.overview.clientHeight];
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      const kept = [this.start, this.span, this.width];
      [this.start, this.span, this.width] = [0, this.extent, width];
      for (const [who, top] of [["caller", 1], ["bot", height / 2]]) {
        const track = this.tracks[who];
        if (track) this.wave(pen, track.peaks, track.bucket, top, height / 2 - 2, this.ink(`--${who}-power`));
      }
      [this.start, this.span, this.width] = kept;
      const inner = width - 2 * EDGE;
      const left = this.start > 0 ? EDGE + (this.start / this.extent) * inner : 0;
      const wide = this.span < this.extent ? (this.span / this.extent) * inner : width;
      pen.fillStyle = this.ink("--page");
      pen.globalAlpha = 0.72;
      pen.fillRect(0, 0, left, height);
      pen.fillRect(left + wide, 0, width, height);
      pen.globalAlpha = 1;
      if (this.span < this.extent) {
        pen.strokeStyle = this.ink("--accent");
        pen.strokeRect(left + 0.5, 0.5, Math.max(2, wide - 1), height - 1);
      }
    }

    // --- position ---------------------------------------------------------------------------

    point() {
      this.cursor.style.left = `${this.x(this.now)}px`;
    }

    // Everything that shows where we are.
    tell(follow) {
      if (follow && !this.inView(this.now)) this.look(this.now - this.span * 0.08, this.span);
      this.point();
      const text = clock(this.now);
      $(this.article, ".now").textContent = text;
      this.stage.setAttribute("aria-valuenow", this.now.toFixed(3));
      this.stage.setAttribute("aria-valuetext", `${text} of ${clock(this.length)}`);
      for (const one of this.told) {
        one.row.classList.toggle("now", this.now >= one.start && this.now < one.end);
      }
    }

    seek(at, follow = true) {
      this.now = limit(at, 0, this.length);
      this.sound.audio.currentTime = this.now;
      this.tell(follow);
    }

    play(side) {
      const { audio } = this.sound;
      if (!audio.paused && this.sound.side === side) {
        audio.pause();
        return;
      }
      for (const other of calls) other.sound.audio.pause();
      this.sound.load(side);
      audio.currentTime = this.now >= this.length - 0.05 ? 0 : this.now;
      audio.play().catch((error) => {
        $(this.article, ".now").textContent = `cannot play: ${error.name}`;
      });
    }

    buttons() {
      const { audio, side } = this.sound;
      for (const button of $$(this.article, "[data-play]")) {
        button.setAttribute("aria-pressed", String(!audio.paused && button.dataset.play === side));
      }
    }

    move() {
      const { audio } = this.sound;
      if (audio.paused) return;
      this.now = Math.min(audio.currentTime, this.length);
      this.tell(true);
      requestAnimationFrame(() => this.move());
    }

    // --- search -----------------------------------------------------------------------------

    filter() {
      const words = $(this.article, ".search input").value.trim().toLowerCase();
      const legs = new Set($$(this.article, "[data-leg]:checked").map((box) => box.dataset.leg));
      this.texts ??= this.rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, " "));
      this.hits = [];
      let shown = 0;
      this.rows.forEach((row, index) => {
        const match = words !== "" && this.texts[index].includes(words);
        row.classList.toggle("hit", match);
        row.classList.remove("at-hit");
        const { leg } = row.dataset;
        if (leg) {
          row.hidden = !legs.has(leg) || (words !== "" && !match);
          shown += !row.hidden;
        }
        if (match && !row.hidden) this.hits.push(row);
      });
      const all = $$(this.article, ".log li").length;
      $(this.article, ".count").textContent = shown === all ? String(all) : `${shown} of ${all}`;
      for (const item of this.items) {
        item.found = words !== "" && item.label.toLowerCase().includes(words);
      }
      this.hit = -1;
      this.counted(words);
      this.draw();
    }

    counted(words) {
      const count = this.hits.length;
      const text = this.hit < 0 ? `${count} found` : `${this.hit + 1} of ${count}`;
      $(this.article, ".found").textContent = words === "" ? "" : text;
    }

    find(step) {
      if (!this.hits.length) return;
      this.hits[this.hit]?.classList.remove("at-hit");
      const count = this.hits.length;
      this.hit = this.hit < 0 ? (step > 0 ? 0 : count - 1) : (this.hit + step + count) % count;
      const row = this.hits[this.hit];
      row.classList.add("at-hit");
      // Its own box moves, the page stays.
      const box = row.parentElement;
      box.scrollTop = row.offsetTop - box.clientHeight / 2;
      this.seek(Number(row.dataset.at));
      this.counted("found");
    }

    // --- what people do ---------------------------------------------------------------------

    listen() {
      const { article, stage } = this;
      const { audio } = this.sound;
      for (const name of ["play", "pause", "ended"]) audio.addEventListener(name, () => this.buttons());
      audio.addEventListener("play", () => this.move());
      article.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        if (button.dataset.play) this.play(button.dataset.play);
        else if (button.dataset.zoom === "in") this.zoom(0.5);
        else if (button.dataset.zoom === "out") this.zoom(2);
        else if (button.dataset.zoom === "fit") this.fit();
        else if (button.dataset.find) this.find(button.dataset.find === "on" ? 1 : -1);
        else if (button.classList.contains("at")) {
          this.seek(Number(button.dataset.seek ?? button.closest("[data-at]").dataset.at));
        }
      });
      const input = $(article, ".search input");
      input.addEventListener("input", () => this.filter());
      input.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        this.find(event.shiftKey ? -1 : 1);
      });
      for (const box of $$(article, "input[data-leg]")) box.addEventListener("change", () => this.filter());
      stage.addEventListener("keydown", (event) => this.key(event));
      stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      stage.addEventListener("pointerdown", (event) => this.grab(event));
      stage.addEventListener("pointermove", (event) => this.hover(event));
      stage.addEventListener("pointerleave", () => { tip.hidden = true; });
      this.overview.addEventListener("pointerdown", (event) => this.drag(event));
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const far = event.shiftKey ? 0.1 : 1;
      const keys = {
        ArrowLeft: () => this.seek(this.now - far), ArrowRight: () => this.seek(this.now + far),
        PageUp: () => this.seek(this.now + 10), PageDown: () => this.seek(this.now - 10),
        Home: () => this.seek(0), End: () => this.seek(this.length),
        " ": () => this.play(this.sound.side ?? "both"),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
        0: () => this.fit(), "[": () => this.step(-1), "]": () => this.step(1),
        "/": () => $(this.article, ".search input").focus(),
      };
      if (event.key === " " && $(this.article, "[data-play=both]").disabled) return;
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    }

    step(way) {
      const times = this.told.map((one) => one.start).sort((a, b) => a - b);
      const next = way > 0 ? times.find((at) => at > this.now + 0.001)
        : times.reverse().find((at) => at < this.now - 0.001);
      if (next !== undefined) this.seek(next);
    }

    wheel(event) {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (sideways) {
        event.preventDefault();
        this.look(this.start + (event.deltaX / this.width) * this.span, this.span);
        return;
      }
      // A page is scrolled past a timeline that nobody has clicked.
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== this.stage) return;
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      this.zoom(Math.exp(limit(pixels, -240, 240) * 0.004), this.at(event.clientX));
    }

    grab(event) {
      if (event.button !== 0) return;
      const [x, start] = [event.clientX, this.start];
      let moved = false;
      const on = (next) => {
        if (!moved && Math.abs(next.clientX - x) < 5) return;
        moved = true;
        this.stage.classList.add("dragging");
        this.look(start - ((next.clientX - x) / this.width) * this.span, this.span);
      };
      const off = (last) => {
        this.stage.removeEventListener("pointermove", on);
        this.stage.removeEventListener("pointerup", off);
        this.stage.removeEventListener("pointercancel", off);
        this.stage.classList.remove("dragging");
        if (!moved && last.type === "pointerup") this.seek(this.at(last.clientX), false);
      };
      this.stage.setPointerCapture(event.pointerId);
      this.stage.addEventListener("pointermove", on);
      this.stage.addEventListener("pointerup", off);
      this.stage.addEventListener("pointercancel", off);
    }

    drag(event) {
      const go = (next) => {
        const box = this.overview.getBoundingClientRect();
        const at = ((next.clientX - box.left) / box.width) * this.extent;
        this.look(at - this.span / 2, this.span);
      };
      go(event);
      this.overview.setPointerCapture(event.pointerId);
      this.overview.addEventListener("pointermove", go);
      const off = () => this.overview.removeEventListener("pointermove", go);
      this.overview.addEventListener("pointerup", off, { once: true });
      this.overview.addEventListener("pointercancel", off, { once: true });
    }

    hover(event) {
      // The plot takes the pointer for itself while it is dragged.
      const under = document.elementFromPoint(event.clientX, event.clientY);
      const node = under?.closest("[data-item]");
      if (!node || event.buttons) {
        tip.hidden = true;
        return;
      }
      tip.textContent = this.items[node.dataset.item].told;
      tip.hidden = false;
      const { width, height } = tip.getBoundingClientRect();
      tip.style.left = `${limit(event.clientX + 12, 8, window.innerWidth - width - 8)}px`;
      const below = event.clientY + 18;
      tip.style.top = `${below + height > window.innerHeight ? event.clientY - height - 12 : below}px`;
    }
  }

  for (const article of $$(document, "article.call")) calls.push(new Call(article));
  const same = document.getElementById("same-scale");
  const longest = Math.max(...calls.map((call) => call.length));
  const rescale = () => calls.forEach((call) => call.scale(same?.checked ? longest : call.length));
  same?.addEventListener("change", rescale);
  rescale();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => calls.forEach((call) => call.draw()));
})();
