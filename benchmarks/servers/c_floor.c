/* The kernel's limit: one thread, epoll, one write() an event and stream.
 *
 * It speaks the commands of benchmarks/publisher.py on the file descriptor of its second argument,
 * and serves on the listening one of its first. Anything is answered with an endless chunked
 * response. An event is encoded once and written to each connection of its group. Writes block: it
 * knows no slow clients. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX 65536 /* file descriptors, and groups */

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
/* Of each group the first connection, and of each connection the next of its group: 0 is none. */
static int first_of[MAX], next_of[MAX], group_of[MAX], answered[MAX];
static int epoll, control;
static long next_event, events_left, groups;

static void put(int fd, const char *bytes, size_t size) {
    while (size) {
        ssize_t sent = write(fd, bytes, size);
        if (sent <= 0) return;
        bytes += sent, size -= sent;
    }
}

static void publish(int group, long seq) {
    char frame[1024], chunk[1100];
    int size = snprintf(frame, sizeof frame,
        "data: {\"seq\":%ld,\"symbol\":\"ACME\",\"venue\":\"XNYS\",\"bid\":%.2f,\"ask\":%.2f,"
        "\"volume\":%ld,\"currency\":\"EUR\",\"halted\":false,\"time\":\"2026-01-01T09:30:00.000Z\","
        "\"note\":\"A price of the running session.\"}\n\n",
        seq, 101.25 + seq % 100 / 100.0, 101.27 + seq % 100 / 100.0, 18250 + seq);
    size = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, frame);
    for (int fd = first_of[group]; fd; fd = next_of[fd]) put(fd, chunk, size);
}

/* Group 0 is "ticks", group N + 1 is "gN". */
static void publish_to_all(void) {
    if (groups == 1) publish(0, next_event);
    else for (int group = 1; group <= groups; group++) publish(group, next_event);
    next_event++, events_left--;
}

static void obey(const char *line) {
    char name[16] = "";
    long first = 0, count = 0, number = 1;
    sscanf(line, "%15s %ld %ld %ld", name, &first, &count, &number);
    if (!strcmp(name, "counts")) { put(control, "{}\n", 3); return; }
    if (strcmp(name, "ack")) next_event = first, events_left = count, groups = number;
    if (!strcmp(name, "burst")) while (events_left > 0) publish_to_all();
    if (events_left > 0) publish_to_all(); /* Paced: the first, or the one after an ack. */
    else put(control, "done\n", 5);
}

static void read_commands(void) {
    static char buffer[4096];
    static size_t size;
    ssize_t got = read(control, buffer + size, sizeof buffer - size - 1);
    if (got <= 0) exit(0);
    buffer[size += got] = 0;
    char *line = buffer;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) { *end = 0; obey(line); }
    size = strlen(line);
    memmove(buffer, line, size);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void leave(int fd) {
    int *link = &first_of[group_of[fd]];
    while (*link && *link != fd) link = &next_of[*link];
    if (*link) *link = next_of[fd];
    answered[fd] = 0;
    close(fd);
}

static void serve(int fd) {
    char request[4096];
    ssize_t got = read(fd, request, sizeof request - 1);
    if (got <= 0) { leave(fd); return; }
    if (answered[fd]) return;
    request[got] = 0;
    char *name = strstr(request, "group=g");
    group_of[fd] = name ? (atoi(name + 7) + 1) % MAX : 0;
    next_of[fd] = first_of[group_of[fd]], first_of[group_of[fd]] = fd;
    answered[fd] = 1;
    put(fd, HEAD, sizeof HEAD - 1);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int listening = atoi(arguments[1]), one = 1;
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(listening, (struct sockaddr *)&address, &size);
    control = atoi(arguments[2]);
    epoll = epoll_create1(0);
    watch(listening), watch(control);
    char greeting[64];
    put(control, greeting, snprintf(greeting, sizeof greeting, "{\"port\": %d, \"headers\": {}}\n",
        ntohs(address.sin_port)));
    for (struct epoll_event ready[512];;) {
        int number = epoll_wait(epoll, ready, 512, -1);
        for (int i = 0; i < number; i++) {
            int fd = ready[i].data.fd;
            if (fd == control) read_commands();
            else if (fd != listening) serve(fd);
            else if ((fd = accept(listening, 0, 0)) > 0 && fd < MAX) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(fd);
            }
        }
    }
}
