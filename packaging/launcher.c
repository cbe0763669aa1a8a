// SPDX-License-Identifier: MIT
/*
 * The start of the one file `dirtune-linux-ARCH`: it unpacks the tree that is appended to it into a
 * private folder, once for each version, and executes the tree's Python.
 *
 * The file is this program, a gzip stream of a tar archive (ustar; only folders and regular files),
 * and a footer of FOOTER bytes in ASCII: the magic, the length of the stream, the name of the
 * folder, and the length and the CRC-32 of the archive's first file, MANIFEST. The manifest has a
 * row "SIZE PATH" for each other file. packaging/build.py writes all of it.
 *
 * gzip's own CRC-32 detects a damaged stream. The manifest detects an unpacked folder that is not
 * complete. Nobody else can write to the folder: it and the folder above belong to this user.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#define FOOTER 160
#define MAGIC "dirtune-1"
#define BLOCK 512
#define LONGEST 180 /* of a folder's path: the interpreter's path must fit into PT_INTERP */
#define CANNOT 2    /* the exit status of a dirtune that failed */

static struct {
	char magic[16];
	unsigned long long stream;
	char name[80];
	unsigned long long manifest_size;
	unsigned long manifest_crc;
} footer;
static int self = -1;
static off_t start;

static void die(const char *format, ...)
{
	va_list values;

	fputs("dirtune: ", stderr);
	va_start(values, format);
	vfprintf(stderr, format, values);
	va_end(values);
	fputc('\n', stderr);
	exit(CANNOT);
}

static void open_self(void)
{
	char text[FOOTER + 1] = "";
	off_t end;

	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0) /* /proc is not mounted */
		self = open((const char *)getauxval(AT_EXECFN), O_RDONLY | O_CLOEXEC);
	if (self < 0)
		die("Cannot read this program's own file: %s. Mount /proc.", strerror(errno));
	end = lseek(self, 0, SEEK_END);
	if (end < FOOTER || pread(self, text, FOOTER, end - FOOTER) != FOOTER ||
	    sscanf(text, "%15s %llu %79s %llu %lx", footer.magic, &footer.stream, footer.name,
		   &footer.manifest_size, &footer.manifest_crc) != 5 ||
	    strcmp(footer.magic, MAGIC) || footer.stream > (unsigned long long)end - FOOTER)
		die("This file is not complete. Copy it again.");
	start = end - FOOTER - (off_t)footer.stream;
}

/* The manifest in *folder*, checked against the footer; NULL if it is another one. */
static char *manifest_of(int folder)
{
	char *text = malloc(footer.manifest_size + 1);
	int file = openat(folder, "MANIFEST", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t size = file < 0 || !text ? -1 : read(file, text, footer.manifest_size + 1);

	if (file >= 0)
		close(file);
	if (size < 0 || (unsigned long long)size != footer.manifest_size ||
	    crc32(0, (unsigned char *)text, size) != footer.manifest_crc) {
		free(text);
		return NULL;
	}
	text[size] = 0;
	return text;
}

/* Whether *folder* belongs to this user, and nobody else can write to it. */
static int ours(int folder)
{
	struct stat seen;

	return !fstat(folder, &seen) && S_ISDIR(seen.st_mode) && seen.st_uid == geteuid() &&
	       !(seen.st_mode & (S_IWGRP | S_IWOTH));
}

/* Whether *name* in the folder *base* is a tree whose files all have their sizes. */
static int complete(int base, const char *name)
{
	int folder = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char *text = NULL, *row, *rest = NULL;
	int good = folder >= 0 && ours(folder) && (text = manifest_of(folder));

	for (row = good ? strtok_r(text, "\n", &rest) : NULL; good && row;
	     row = strtok_r(NULL, "\n", &rest)) {
		struct stat seen;
		char *path = NULL;
		long long size = strtoll(row, &path, 10);

		good = *path == ' ' && !fstatat(folder, path + 1, &seen, AT_SYMLINK_NOFOLLOW) &&
		       S_ISREG(seen.st_mode) && seen.st_size == size &&
		       seen.st_uid == geteuid();
	}
	free(text);
	if (folder >= 0)
		close(folder);
	return good;
}

static gzFile stream(void)
{
	int file = dup(self);

	/* Both descriptors share one offset, and gzip ends at the footer: its trailer says where. */
	if (file < 0 || lseek(file, start, SEEK_SET) < 0)
		return NULL;
	return gzdopen(file, "rb");
}

/* Let the kernel load *program* with the dynamic linker beside it, in *folder*. */
static int set_interpreter(int program, const char *folder)
{
	Elf64_Ehdr head;
	Elf64_Phdr part;
	char path[512] = "";
	int i;

	snprintf(path, sizeof(path), "%s/lib/ld.so", folder);
	if (pread(program, &head, sizeof(head), 0) != sizeof(head))
		return 0;
	for (i = 0; i < head.e_phnum; i++) {
		off_t at = head.e_phoff + (off_t)i * head.e_phentsize;

		if (pread(program, &part, sizeof(part), at) != sizeof(part))
			return 0;
		if (part.p_type != PT_INTERP)
			continue;
		return strlen(path) < part.p_filesz && part.p_filesz <= sizeof(path) &&
		       pwrite(program, path, part.p_filesz, part.p_offset) ==
			       (ssize_t)part.p_filesz;
	}
	return 0;
}

static int unpack_file(gzFile from, int folder, const char *path, unsigned mode, size_t size,
		       const char *final)
{
	static unsigned char buffer[128 * BLOCK];
	size_t padded = (size + BLOCK - 1) / BLOCK * BLOCK, left = size;
	int file = openat(folder, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int good = file >= 0;

	while (good && padded) {
		size_t want = padded < sizeof(buffer) ? padded : sizeof(buffer);
		size_t keep = left < want ? left : want;

		good = gzread(from, buffer, want) == (int)want &&
		       write(file, buffer, keep) == (ssize_t)keep;
		padded -= want;
		left -= keep;
	}
	if (good && !strcmp(path, "bin/python3"))
		good = set_interpreter(file, final);
	if (file >= 0 && close(file))
		good = 0;
	return good;
}

/* Unpack the tree into the empty *folder*, for use at the path *final*. errno says what failed. */
static int unpack(int folder, const char *final)
{
	gzFile from = stream();
	char head[BLOCK];
	int good = from != NULL, ended = 0;

	errno = 0;
	while (good && !ended) {
		char path[300];

		good = gzread(from, head, BLOCK) == BLOCK;
		if (!good || !head[0]) {
			ended = good;
			break;
		}
		/* ustar: name[100] mode[8] uid[8] gid[8] size[12] ... type[1] at 156, prefix at 345 */
		snprintf(path, sizeof(path), "%.155s%s%.100s", head + 345, head[345] ? "/" : "", head);
		if (head[156] == '5')
			good = !mkdirat(folder, path, 0755);
		else
			good = unpack_file(from, folder, path, strtoul(head + 100, NULL, 8),
					   strtoul(head + 124, NULL, 8), final);
	}
	while (good && (ended = gzread(from, head, BLOCK)) > 0)
		; /* the padding; gzip's checksum is behind it */
	if (good && ended < 0)
		good = 0;
	if (from && gzclose(from) != Z_OK)
		good = 0;
	return good;
}

/* Remove *name* in the folder *base* with all that it holds. Symbolic links are not followed. */
static void remove_tree(int base, const char *name)
{
	int folder = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *rows = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *row;

	while (rows && (row = readdir(rows))) {
		if (!strcmp(row->d_name, ".") || !strcmp(row->d_name, ".."))
			continue;
		if (unlinkat(folder, row->d_name, 0))
			remove_tree(folder, row->d_name);
	}
	if (rows)
		closedir(rows);
	unlinkat(base, name, AT_REMOVEDIR);
}

static void run(const char *folder, char **argv)
{
	char program[512], origin[512], own[4096];
	char **words;
	ssize_t size;
	int count = 0;

	while (argv[count])
		count++;
	words = calloc(count + 6, sizeof(*words));
	if (!words)
		die("There is no memory left.");
	snprintf(program, sizeof(program), "%s/bin/python3", folder);
	words[0] = program;
	words[1] = "-I";
	words[2] = "-B";
	words[3] = "-m";
	words[4] = "dirtune";
	memcpy(words + 5, argv + (count ? 1 : 0), (count ? count - 1 : 0) * sizeof(*words));
	unsetenv("PYTHONHOME");
	unsetenv("PYTHONPATH");
	snprintf(origin, sizeof(origin), "%s/bin", folder);
	size = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (size > 0) { /* this file is what dirtune sends to other hosts */
		own[size] = 0;
		setenv("DIRTUNE_ONE_FILE", own, 1);
	}
	if (access("/proc/self/exe", F_OK)) /* where the dynamic linker reads $ORIGIN */
		setenv("LD_ORIGIN_PATH", origin, 1);
	execv(program, words);
	die("Cannot execute %s: %s.", program, strerror(errno));
}

/* Run from *path*, a folder of this user, which is made if need be; return if that is impossible. */
static void try_folder(char *path, char **argv)
{
	char folder[2 * LONGEST], part[100];
	struct statvfs what;
	int base, made, good;

	if (path[0] != '/' || strlen(path) + strlen(footer.name) + 2 > LONGEST)
		return;
	if (mkdir(path, 0700) && errno == ENOENT) { /* such as ~/.cache */
		char *last = strrchr(path, '/');

		*last = 0;
		mkdir(path, 0700);
		*last = '/';
		mkdir(path, 0700);
	}
	base = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (base < 0)
		return;
	if (!ours(base) || fstatvfs(base, &what) || (what.f_flag & ST_NOEXEC))
		goto out;
	snprintf(folder, sizeof(folder), "%s/%s", path, footer.name);
	if (complete(base, footer.name))
		run(folder, argv);
	snprintf(part, sizeof(part), "unpacking-%d", (int)getpid());
	remove_tree(base, part);
	if (mkdirat(base, part, 0700))
		goto out;
	made = openat(base, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	good = made >= 0 && unpack(made, folder);
	if (made >= 0)
		close(made);
	if (good && renameat(base, part, base, footer.name)) {
		/* Another process was faster, or left a damaged tree. */
		if (!complete(base, footer.name)) {
			remove_tree(base, footer.name);
			renameat(base, part, base, footer.name);
		}
	}
	remove_tree(base, part);
	if (good && complete(base, footer.name))
		run(folder, argv);
out:
	close(base);
}

static void try_below(const char *parent, const char *name, char **argv)
{
	char path[LONGEST];

	if (parent && *parent && snprintf(path, sizeof(path), "%s/%s", parent, name) < LONGEST)
		try_folder(path, argv);
}

static int write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	int good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		close(file);
	return good;
}

/* Nothing can be written here: use memory that only this process and its children see. */
static void try_memory(char **argv)
{
	static const char *const over[] = { "/mnt", "/media", "/srv", "/opt", "/tmp", "/root", NULL };
	char uids[64], gids[64];
	int i, user = geteuid() != 0;

	snprintf(uids, sizeof(uids), "%u %u 1", geteuid(), geteuid());
	snprintf(gids, sizeof(gids), "%u %u 1", getegid(), getegid());
	if (unshare(CLONE_NEWNS | (user ? CLONE_NEWUSER : 0)))
		return;
	if (user) {
		write_text("/proc/self/setgroups", "deny");
		if (!write_text("/proc/self/gid_map", gids) || !write_text("/proc/self/uid_map", uids))
			return;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return;
	for (i = 0; over[i]; i++)
		if (!mount("dirtune", over[i], "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700"))
			try_below(over[i], "dirtune", argv);
}

int main(int argc, char **argv)
{
	char mine[64];

	(void)argc;
	umask(022);
	open_self();
	snprintf(mine, sizeof(mine), "dirtune-%u", geteuid());
	if (getenv("DIRTUNE_CACHE")) {
		try_below(getenv("DIRTUNE_CACHE"), "dirtune", argv);
		die("Cannot unpack into DIRTUNE_CACHE=%s. Name a folder of %s, below %d characters, on "
		    "a file system with 100 MB free and without noexec.",
		    getenv("DIRTUNE_CACHE"), geteuid() ? "yours" : "root", LONGEST - 80);
	}
	if (geteuid()) {
		try_below(getenv("XDG_CACHE_HOME"), "dirtune", argv);
		if (getenv("HOME"))
			try_below(getenv("HOME"), ".cache/dirtune", argv);
		try_below(getenv("XDG_RUNTIME_DIR"), "dirtune", argv);
	} else {
		try_below("/var/cache", "dirtune", argv);
		try_below("/run", "dirtune-cache", argv);
	}
	try_below("/dev/shm", mine, argv);
	try_below("/tmp", mine, argv);
	try_below("/var/tmp", mine, argv);
	try_memory(argv);
	die("No folder can be written to that programs may be executed from. Set DIRTUNE_CACHE to "
	    "such a folder, with 100 MB free.");
}
